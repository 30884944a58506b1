"""Files of text, read line by line, with all that is wrong with one of them shown at once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.raw_lines import decoded, raw_lines
from quantum_rerank.errors import DataError

SHOWN = 5  # mistakes of a kind that are shown one by one; the others are counted

Handle = Callable[[str], None]


class Problems:
    """Mistakes in the rows of a file, collected until all rows are read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._shown: list[str] = []

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Keep the DataError that is raised inside, with the place of the row."""
        try:
            yield
        except DataError as error:
            self._number += 1
            if self._number <= SHOWN:
                self._shown += [f"{place}: {problem}" for problem in error.problems]

    def raise_all(self, rows: str = "lines") -> None:
        """Raise DataError with the first problems and the number of the others, if any."""
        if self._number > SHOWN:
            self._shown.append(f"{self._path}: {self._number - SHOWN} more {rows} are wrong.")
        if self._shown:
            raise DataError(self._shown)


def each_line(path: Path, handle: Handle) -> None:
    """Hand over every line that is not blank, decompressed and without its end.

    What `handle` refuses, with a DataError, is shown together with its line.

    Raises: DataError also where the file is not readable or not UTF-8.
    """
    problems = Problems(path)
    for number, raw in raw_lines(path):
        if not raw.isspace():
            place = f"{path}, line {number}"
            with problems.at(place):
                handle(decoded(raw).rstrip("\r\n"))
    problems.raise_all()


def texts_by_id(path: Path, parse: Callable[[str], tuple[str, str]]) -> dict[str, str]:
    """Id -> text, in the order of the lines; an id stands once."""
    texts: dict[str, str] = {}

    each_line(path, lambda line: add_text(texts, *parse(line)))
    return texts


def add_text(texts: dict[str, str], key: str, text: str) -> None:
    """Add a text under its id; DataError where the id is empty or has a text already."""
    if not key.strip():
        raise DataError("the id is empty.")
    if key in texts:
        raise DataError(f"the id {key!r} stands above already.")
    texts[key] = text


def json_record(line: str, *keys: str) -> dict[str, Any]:
    """One line of a JSONL file: an object that has some keys."""
    return with_keys(parsed_json(line), line, *keys)


def parsed_json(line: str) -> Any:
    """The value of one line of a JSONL file; DataError where it is not valid JSON."""
    try:
        return json.loads(line)
    except RecursionError:
        raise DataError("not valid JSON: nested too deeply.") from None
    except ValueError as error:
        raise DataError(f"not valid JSON: {getattr(error, 'msg', error)}.") from None


def with_keys(record: Any, line: str, *keys: str) -> dict[str, Any]:
    """What a line holds, if it is an object that has some keys."""
    if not isinstance(record, dict) or not record.keys() >= set(keys):
        needed = " and ".join(f"`{key}`" for key in keys)
        wrong = f"needs the keys {needed}" if keys else "is no object"
        raise DataError(f"{shortened(line)} {wrong}.")
    return record


def id_of(record: dict[str, Any], key: str) -> str:
    """An id as text; numbers are ids too."""
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"`{key}` is {shortened(value)}, but must be a string or a whole number.")
    return str(value)


def text_of(record: dict[str, Any], key: str) -> str:
    """A text, which may be empty but must be there."""
    value = record[key]
    if not isinstance(value, str):
        raise DataError(f"`{key}` is {shortened(value)}, but must be a string.")
    return value


def title_of(record: dict[str, Any]) -> str:
    """The `title` of a document; empty where there is none, which `null` and NaN mean too.

    >>> title_of({"title": "Oak"}), title_of({"title": float("nan")}), title_of({})
    ('Oak', '', '')
    """
    value = record.get("title")
    return "" if is_missing(value) else text_of(record, "title")


def is_missing(value: object) -> bool:
    """Return whether a value stands for none: `null`, or the NaN that pandas writes for it.

    >>> is_missing(None), is_missing(float("nan")), is_missing("")
    (True, True, False)
    """
    return value is None or (isinstance(value, float) and math.isnan(value))


def with_title(title: str, text: str) -> str:
    """A document as one text.

    >>> with_title("Oak", "A tree."), with_title("", "A tree."), with_title("Oak", " ")
    ('Oak. A tree.', 'A tree.', 'Oak')
    """
    title, text = title.strip(), text.strip()
    return f"{title}. {text}" if title and text else title or text


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can hold a text: JSON can name halves of surrogate pairs, which it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shortened(value: object, n_characters: int = 60) -> str:
    """A value as an error shows it: quoted, and never longer than a line."""
    text = repr(value)
    return text if len(text) <= n_characters else f"{text[: n_characters - 4]}...{text[-1]}"
