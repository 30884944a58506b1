"""Text files, read line by line, with the errors of all lines collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from quantum_rerank.datasets.raw_lines import decoded, raw_lines
from quantum_rerank.errors import DataError

SHOWN = 5
"""Number of errors of a file that are shown one by one; the rest is counted."""


class Problems:
    """Errors in the rows of a file, collected until all rows are read.

    Args:
        path: File or folder, named in the message.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._shown: list[str] = []

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Collect a DataError that is raised inside.

        Args:
            place: Place of the row, such as `clicks.csv, line 5`, shown before the error.
        """
        try:
            yield
        except DataError as error:
            self._number += 1
            if self._number <= SHOWN:
                self._shown += [f"{place}: {problem}" for problem in error.problems]

    def raise_all(self, rows: str = "lines") -> None:
        """Raise the collected errors, if there are any.

        Args:
            rows: Plural of what the file consists of.

        Raises:
            DataError: The first errors, and the number of the rest.
        """
        if self._number > SHOWN:
            self._shown.append(f"{self._path}: {self._number - SHOWN} more {rows} are wrong.")
        if self._shown:
            raise DataError(self._shown)


def each_line(path: Path, handle: Callable[[str], None]) -> None:
    """Call a function with every line that is not blank.

    Args:
        path: File, which may be compressed.
        handle: Called with a line without its line break. Its DataErrors are collected.

    Raises:
        DataError: The file is not readable or not UTF-8, or `handle` has refused lines.
    """
    each_numbered_line(path, lambda _, line: handle(line))


def each_numbered_line(path: Path, handle: Callable[[str, str], None]) -> None:
    """Call a function with the place and the text of every line that is not blank.

    Args:
        path: File, which may be compressed.
        handle: Called with the place, such as `line 5`, and the line without its line break. Its
            DataErrors are collected.

    Raises:
        DataError: The file is not readable or not UTF-8, or `handle` has refused lines.
    """
    problems = Problems(path)
    for number, raw in raw_lines(path):
        if not raw.isspace():
            place = f"line {number}"
            with problems.at(f"{path}, {place}"):
                handle(place, decoded(raw).rstrip("\r\n"))
    problems.raise_all()


def texts_by_id(path: Path, parse: Callable[[str], tuple[str, str]]) -> dict[str, str]:
    """Read a file with one text per line.

    Args:
        path: File, which may be compressed.
        parse: Called with a line; returns its id and text.

    Returns:
        Id -> text, in the order of the lines.

    Raises:
        DataError: A line is invalid, or an id is empty or repeated.
    """
    texts: dict[str, str] = {}
    each_line(path, lambda line: add_text(texts, *parse(line)))
    return texts


def add_text(texts: dict[str, str], key: str, text: str) -> None:
    """Add a text to a mapping.

    Args:
        texts: Id -> text, changed in place.
        key: Id of the text.
        text: The text.

    Raises:
        DataError: The id is empty, or has a text already.
    """
    if not key.strip():
        raise DataError("the id is empty.")
    if key in texts:
        raise DataError(f"the id {key!r} has a text already. Give each text its own id.")
    texts[key] = text


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can encode a text: JSON can contain half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shortened(value: object, n_characters: int = 60) -> str:
    """Return a value as an error shows it.

    Args:
        value: Any value.
        n_characters: Longest result.
    """
    text = repr(value)
    return text if len(text) <= n_characters else f"{text[: n_characters - 4]}...{text[-1]}"
