"""Paths as users write them, with `~` for the home folder."""

from __future__ import annotations

import os
from pathlib import Path

from quantum_rerank.errors import DataError, QuantumRerankError


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with a leading `~` or `~user` replaced by the home folder.

    A shell expands `~` at the start of an argument, but not within `--output=~/x` or
    `csv:~/x.csv`. The path is returned unchanged if the home folder cannot be determined. A folder
    with the name `~` needs its absolute path.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def as_path(value: object, name: str) -> Path:
    """Return a path argument as a `Path`, with `~` expanded.

    Args:
        value: A text or a `PathLike`.
        name: The name of the argument, for the message.

    Raises:
        DataError: The value is not a text or a `PathLike` of a text, or is empty.
    """
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or not path:
        raise DataError(f"`{name}` is {value!r:.100}, but must be a path: a text or a `Path`.")
    return expanded(path)


def require_exists(path: Path, error: type[QuantumRerankError]) -> None:
    """Check that a path exists.

    Args:
        path: The path.
        error: The type of the error to raise.

    Raises:
        QuantumRerankError: The path does not exist or cannot be read.
    """
    try:
        exists = path.exists()
    except OSError as problem:  # no right to the folder above, or a name that is too long
        raise error(f"`{path}` cannot be read: {problem.strerror}.") from None
    if not exists:
        raise error(f"`{path}` does not exist.")
