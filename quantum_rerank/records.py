"""Records: JSON objects that this package has written and reads again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from quantum_rerank.errors import BundleError
from quantum_rerank.regular_files import read_json, reason


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
