"""Files of text, read line by line, with all that is wrong with one of them shown at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantum_rerank.errors import DataError

_GZIP = b"\x1f\x8b"  # how such a file begins
SHOWN = 5  # mistakes of a kind that are shown one by one; the others are counted

Handle = Callable[[str], None]


def each_line(path: Path, handle: Handle, header: Handle | None = None) -> None:
    """Hand over every line that is not blank, the first one to `header` where there is one.

    What `handle` refuses, with a DataError, is told together with its line. A wrong
    header ends the reading: every line below it would be wrong as well.

    Raises: DataError also where the file is not readable or not UTF-8.
    """
    problems: list[str] = []
    n_problems = 0
    try:
        with path.open("rb") as file:
            if file.peek(2).startswith(_GZIP):
                raise DataError(f"{path}: the file is compressed. Unpack it first, with gunzip.")
            if header:
                _in_place(f"{path}, line 1", header, file.readline(), encoding="utf-8-sig")
            for number, raw in enumerate(file, start=2 if header else 1):
                if raw.isspace():
                    continue
                try:
                    # Only the first line may begin with a byte order mark.
                    encoding = "utf-8-sig" if number == 1 else "utf-8"
                    _in_place(f"{path}, line {number}", handle, raw, encoding)
                except DataError as error:
                    n_problems += 1
                    problems += error.problems if n_problems <= SHOWN else ()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    if n_problems > SHOWN:
        problems.append(f"{path}: {n_problems - SHOWN} more lines are wrong.")
    if problems:
        raise DataError(problems)


def _in_place(place: str, handle: Handle, raw: bytes, encoding: str) -> None:
    try:
        handle(raw.decode(encoding).rstrip("\r\n"))
    except UnicodeDecodeError as error:
        wrong = raw[error.start]
        raise DataError(
            f"{place}: the byte {wrong:#04x} is not UTF-8 text. Convert the file."
        ) from None
    except DataError as error:
        raise DataError([f"{place}: {problem}" for problem in error.problems]) from None


def texts_by_id(path: Path, parse: Callable[[str], tuple[str, str]]) -> dict[str, str]:
    """Id -> text, in the order of the lines; an id stands once."""
    texts: dict[str, str] = {}

    def add(line: str) -> None:
        key, text = parse(line)
        if not key.strip():
            raise DataError("the id is empty.")
        if key in texts:
            raise DataError(f"the id {key!r} stands above already.")
        texts[key] = text

    each_line(path, add)
    return texts


def json_record(line: str, *keys: str) -> dict[str, Any]:
    """One line of a JSONL file: an object that has some keys."""
    try:
        record = json.loads(line)
    except RecursionError:
        raise DataError("not valid JSON: nested too deeply.") from None
    except ValueError as error:
        raise DataError(f"not valid JSON: {getattr(error, 'msg', error)}.") from None
    return with_keys(record, line, *keys)


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
