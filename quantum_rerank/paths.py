"""Paths as users write them: `~` is their home folder, whoever reads the path."""

from __future__ import annotations

import os
from pathlib import Path

from quantum_rerank.errors import DataError, QuantumRerankError


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with a leading `~` or `~user` replaced by the home folder.

    A shell does so for an argument of its own, but not within `--output=~/x` or `csv:~/x.csv`.
    Where nobody knows the home folder, the path stays as it is. A folder that is itself called
    `~` is named by its absolute path.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def as_path(value: object, name: str) -> Path:
    """Return the path that a caller has given as the argument `name`, with `~` expanded.

    Raises: DataError if it is no text and no PathLike of a text, or is empty.
    """
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or not path:
        raise DataError(f"`{name}` is {value!r:.100}, but must be a path: a text or a `Path`.")
    return expanded(path)


def require_exists(path: Path, error: type[QuantumRerankError]) -> None:
    """Raise an error of this type where nothing lies at a path, or nobody may look."""
    try:
        is_there = path.exists()
    except OSError as problem:  # no right to the folder above, or a name that is too long
        raise error(f"`{path}` cannot be read: {problem.strerror}.") from None
    if not is_there:
        raise error(f"`{path}` does not exist.")
