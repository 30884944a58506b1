"""Write files and folders atomically: readers see the complete new content or the old one.

The functions for files raise `OSError`, as `pathlib.Path.write_text` does. Wrap them in
`output_errors` where the user named the path. The functions for folders raise `OutputError`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from quantum_rerank.errors import OutputError
from quantum_rerank.regular_files import MAX_WEIGHTS, open_regular, read_regular

PARTIAL, PREVIOUS = ".unfinished", ".before"
"""Suffixes of a file that is being written, and of the version that it replaces."""


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Raise an `OSError` of the block as an `OutputError` that names the path."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"`{path}` cannot be written: {error.strerror}.") from None


def require_free(folder: Path) -> None:
    """Check that a folder can be created at a path.

    Raises:
        OutputError: The path is a file or a folder that is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"`{folder}` exists already. Name a new folder, or remove this one.")


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `folder` when the block succeeds.

    Raises:
        OutputError: The folder cannot be written.
    """
    with output_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as private:
            staging = Path(private) / folder.name
            staging.mkdir()
            yield staging
            if folder.exists():
                folder.rmdir()
            staging.replace(folder)


def replace_folder(source: Path, target: Path) -> None:
    """Rename a complete folder, replacing the one that has the name already.

    A process killed between the two renames leaves the replaced folder under the suffix
    `PREVIOUS`.

    Raises:
        OSError: A folder cannot be renamed.
    """
    previous = target.with_name(target.name + PREVIOUS)
    shutil.rmtree(previous, ignore_errors=True)
    if target.exists():
        target.rename(previous)
    source.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def write_json(path: Path, record: Mapping[str, Any] | list[Any] | float) -> None:
    """Write a JSON file atomically, indented by two spaces.

    Raises:
        OSError: The file cannot be written. The previous file is left as it was.
    """
    write_text(path, json.dumps(record, indent=2) + "\n")


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write a UTF-8 text file atomically, creating its folder.

    Args:
        path: The file.
        text: The content, as a string or in parts.

    Raises:
        OSError: The file cannot be written. The previous file is left as it was.
    """
    parts = [text] if isinstance(text, str) else text
    partial = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_to_disk(partial, (part.encode() for part in parts))
    partial.replace(path)


class FileSystem(Protocol):
    """The operations that versioned files need of a local or remote file system.

    Each raises `OSError` where it fails, and `read` a `FileNotFoundError` for a missing file.
    """

    def is_file(self, path: str) -> bool:
        """Return whether a file exists."""

    def read(self, path: str) -> bytes:
        """Return the content of a file."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file and its folder."""

    def move(self, source: str, target: str) -> None:
        """Rename a file, replacing the target."""


class LocalFiles:
    """The file system of this machine."""

    def is_file(self, path: str) -> bool:
        """Return whether a file exists."""
        return Path(path).is_file()

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        return read_regular(path, MAX_WEIGHTS)

    def write(self, path: str, content: bytes) -> None:
        """Write a file and its folder, and wait until the content is on the disk."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _write_to_disk(Path(path), [content])

    def move(self, source: str, target: str) -> None:
        """Rename a file, replacing the target."""
        Path(source).replace(target)


def write_version(files: FileSystem, path: str, content: bytes) -> None:
    """Write a new version of a file and keep the one before it.

    A process may be killed at any moment: `read_versions` then yields the new version or the
    one before it, and never a part of either.

    Args:
        files: The file system.
        path: The file.
        content: The new version.

    Raises:
        OSError: The file cannot be written. The previous version is left.
    """
    files.write(path + PARTIAL, content)
    if files.is_file(path):
        files.move(path, path + PREVIOUS)
    files.move(path + PARTIAL, path)


def read_versions(files: FileSystem, path: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the content of each version of a file, newest first.

    Args:
        files: The file system.
        path: The file. A missing file has no versions.

    Raises:
        OSError: A version exists and cannot be read.
    """
    for version in version_paths(path):
        try:
            content = files.read(version)
        except FileNotFoundError:
            continue
        yield version, content


def version_paths(path: str) -> tuple[str, str]:
    """Return the paths of the newest version of a file and of the one before it."""
    return path, path + PREVIOUS


def _write_to_disk(path: Path, parts: Iterable[bytes]) -> None:
    with open_regular(path, "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())  # or the name could be on the disk before the content
