"""Files and folders that appear under their name only once wholly written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantum_rerank.errors import OutputError


def require_free(folder: Path) -> None:
    """Raise OutputError if something stands where a folder is to be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"`{folder}` exists already. Name a new folder, or remove this one.")


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes its name when all has gone well.

    Raises: OutputError if it cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as private:
            staging = Path(private) / folder.name
            staging.mkdir()
            yield staging
            if folder.exists():
                folder.rmdir()
            staging.replace(folder)
    except OSError as error:
        raise OutputError(f"`{folder}` cannot be written: {error.strerror}.") from None


def replace_folder(finished: Path, folder: Path) -> None:
    """Move a finished folder to where another may stand, which is removed afterwards."""
    before = folder.with_name(f"{folder.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    finished.rename(folder)
    shutil.rmtree(before, ignore_errors=True)


def write_json(path: Path, record: Mapping[str, Any] | float) -> None:
    """Write JSON, as `write_text` writes.

    Raises: OutputError if it cannot be written.
    """
    write_text(path, json.dumps(record, indent=2) + "\n")


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write a file as `write_whole` does, for whoever named its place.

    Raises: OutputError if it cannot be written; what stood there before still does.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        raise OutputError(f"`{path}` cannot be written: {error.strerror}.") from None


def write_whole(path: Path, text: str | Iterable[str]) -> None:
    """Write a file that is whole or not there, in UTF-8, making its folder.

    text: at once, or in parts as they come.

    Raises: OSError if it cannot be written; what stood there before still does.
    """
    unfinished = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("w", encoding="utf-8") as file:
        file.writelines([text] if isinstance(text, str) else text)
        file.flush()
        os.fsync(file.fileno())  # or the name could be on the disk before the bytes
    unfinished.replace(path)
