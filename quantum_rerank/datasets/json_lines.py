"""Records of JSONL files: parsing, and checks of their fields."""

from __future__ import annotations

import json
import math
from typing import Any

from quantum_rerank.datasets.text_files import shortened
from quantum_rerank.errors import DataError

Record = dict[str, Any]
"""An object of a JSONL file, or a row of a table; a value may be of any type."""


def parse_record(line: str, *keys: str) -> Record:
    """Parse a line that must be an object.

    Args:
        line: Line of a JSONL file.
        *keys: Keys that the object must have.

    Raises:
        DataError: The line is not valid JSON, is not an object, or lacks a key.
    """
    return require_keys(parse_json(line), line, *keys)


def parse_json(line: str) -> Any:
    """Parse a line of a JSONL file.

    Raises:
        DataError: The line is not valid JSON.
    """
    try:
        return json.loads(line)
    except RecursionError:
        raise DataError("not valid JSON: nested too deeply.") from None
    except ValueError as error:
        raise DataError(f"not valid JSON: {getattr(error, 'msg', error)}.") from None


def require_keys(value: Any, line: str, *keys: str) -> Record:
    """Return a value if it is an object with some keys.

    Args:
        value: Parsed value of a line.
        line: The line, shown in the error.
        *keys: Keys that the object must have.

    Raises:
        DataError: The value is not an object, or lacks a key.
    """
    if not isinstance(value, dict) or not value.keys() >= set(keys):
        needed = " and ".join(f"`{key}`" for key in keys)
        problem = f"needs the keys {needed}" if keys else "is not an object"
        raise DataError(f"{shortened(line)} {problem}.")
    return value


def id_of(record: Record, key: str) -> str:
    """Return an id as text; whole numbers are ids too.

    Raises:
        DataError: The value is neither.
    """
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"`{key}` is {shortened(value)}, but must be a string or a whole number.")
    return str(value)


def text_of(record: Record, key: str) -> str:
    """Return a text, which may be empty.

    Raises:
        DataError: The value is not a string.
    """
    value = record[key]
    if not isinstance(value, str):
        raise DataError(f"`{key}` is {shortened(value)}, but must be a string.")
    return value


def title_of(record: Record) -> str:
    """Return the `title` of a document; empty if it is missing, `null` or NaN.

    Raises:
        DataError: The title is not a string.

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
    """Join the title and the text of a document.

    >>> with_title("Oak", "A tree."), with_title("", "A tree."), with_title("Oak", " ")
    ('Oak. A tree.', 'A tree.', 'Oak')
    """
    title, text = title.strip(), text.strip()
    return f"{title}. {text}" if title and text else title or text
