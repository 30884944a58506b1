"""Files and folders that appear under their name only when all of them has been written."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantum_rerank.errors import OutputError


def require_free(folder: Path) -> None:
    """Raise OutputError if something stands where a folder is to be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"`{folder}` exists already. Name a new folder, or remove this one.")


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
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


def put_in_place(finished: Path, folder: Path) -> None:
    """Move a finished folder to where another may stand, which is removed afterwards."""
    before = folder.with_name(f"{folder.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    finished.rename(folder)
    shutil.rmtree(before, ignore_errors=True)


def write_json(path: Path, record: Mapping[str, Any] | float) -> None:
    """Write JSON to a file that is whole or not there, making its folder.

    Raises: OutputError if it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(f"`{path}` cannot be written: {error.strerror}.") from None
