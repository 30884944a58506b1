"""Records: JSON objects that this package has written and reads again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from quantum_rerank.errors import BundleError
from quantum_rerank.regular_files import read_json, reason

T = TypeVar("T")


def read_record(path: Path, keys: Collection[str] = (), way_out: str = "") -> dict[str, Any]:
    """Read a JSON object and check that it has all keys that are needed.

    Args:
        path: File to read.
        keys: Names that the object must have.
        way_out: Sentence that follows the message where a key is missing.

    Returns:
        The object, with keys beyond those that are needed.

    Raises:
        BundleError: The file cannot be read, is not a JSON object, or lacks a key.
    """
    try:
        record = read_json(path)
    except (OSError, ValueError) as error:
        raise BundleError(f"`{path}` cannot be read: {reason(error)}.") from None
    if not isinstance(record, dict):
        raise BundleError(f"`{path}` is not a JSON object, so it is not the record of a run.")
    if missing := [key for key in keys if key not in record]:
        raise BundleError(
            f"`{path}` has no {', '.join(missing)}: it was changed, or another version or program "
            f"wrote it. {way_out}".rstrip()
        )
    return record


def checked(kind: TypeAdapter[T], value: Any, name: str) -> T:
    """Return a value of a record as the type that it must have.

    Args:
        kind: Type of the value.
        value: Value as it was read.
        name: Key of the value, for the message.

    Raises:
        ValueError: The value is of another type, or out of its range.

    >>> checked(TypeAdapter(dict[str, float]), {"ndcg@10": "high"}, "metrics")
    Traceback (most recent call last):
    ValueError: `metrics.ndcg@10` is 'high': input should be a valid number, unable to parse ...
    """
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise ValueError(first_mistake(error, name)) from None


def first_mistake(error: ValidationError, name: str = "") -> str:
    """Return the first mistake in a record as part of a sentence: key, value and rule.

    Args:
        error: Error of the check.
        name: Key of what was checked; empty for the whole record.
    """
    first = error.errors(include_url=False)[0]
    place = ".".join([*([name] if name else []), *map(str, first["loc"])]) or "record"
    if first["type"] == "missing":
        return f"`{place}` is missing"
    rule = first["msg"].lower().removeprefix("value error, ")
    return f"`{place}` is {first['input']!r:.60}: {rule}"
