"""Files of trials: a folder per trial below one root, local or remote.

What is written is whole or not there, and the version before it stays until it
is: a worker may be killed at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from quantum_rerank.atomic import (
    PARTIAL,
    LocalFiles,
    read_versions,
    version_paths,
    write_version,
)
from quantum_rerank.errors import ConfigError, FilesError, first_line

BEST_EPOCH, PROGRESS = "best.safetensors", "progress.safetensors"
DONORS = "donors"  # below the root: a folder per configuration, what its clones start from


def donated(epoch: int) -> str:
    """The name of a training as it was after an epoch, kept for those that may clone it."""
    return f"epoch-{epoch:05d}.safetensors"


def origin_record(run: str, trial: int, configuration: int) -> dict[str, Any]:
    """Return the origin that a trial's files name.

    Args:
        run: Identifier of the run.
        trial: Number of the trial.
        configuration: Number of the first attempt at its configuration.
    """
    return {"run": run, "trial": trial, "configuration": configuration}


class TrialFiles:
    """Files of trials, by the trial's number, or another name of its folder, and a name.

    root: a folder, or a URI that pyarrow knows (`s3://bucket/runs/7`, `gs://...`).

    Every method raises FilesError where the root cannot be reached or is full.
    """

    def __init__(self, root: str) -> None:
        from pyarrow.fs import FileSystem, LocalFileSystem

        self._uri = root
        if "://" in root:
            with self._named():
                self._files, self._root = FileSystem.from_uri(root)
        else:
            self._files, self._root = LocalFileSystem(), str(Path(root).resolve())
        is_local = isinstance(self._files, LocalFileSystem)
        self._versioned = LocalFiles() if is_local else _ArrowFiles(self._files)

    @property
    def root(self) -> str:
        """Root of the files, as it was given."""
        return self._uri

    def write(self, trial: int | str, name: str, content: bytes) -> None:
        """Write a file; the one that was there stays as its older version."""
        with self._named():
            write_version(self._versioned, self._path(trial, name), content)

    def versions(self, trial: int | str, name: str) -> Iterator[bytes]:
        """Yield the versions of a file, the newest first."""
        with self._named():
            for _, content in read_versions(self._versioned, self._path(trial, name)):
                yield content

    def holds(self, trial: int | str, name: str) -> bool:
        """Return whether a file is there, in its newest version or the one before it."""
        with self._named():
            return any(map(self._versioned.is_file, version_paths(self._path(trial, name))))

    def shown(self, trial: int | str, name: str) -> str:
        """Return the place of a file for messages; of a URI, its path alone."""
        return self._path(trial, name)

    def remove(self, trial: int | str) -> None:
        """Delete a trial's folder, if it has one."""
        with self._named(), suppress(FileNotFoundError):
            self._files.delete_dir(self._path(trial))

    def remove_file(self, trial: int | str, name: str) -> None:
        """Delete a file in all its versions, if it is there."""
        with self._named():
            path = self._path(trial, name)
            for version in (*version_paths(path), path + PARTIAL):
                if self._versioned.is_file(version):
                    self._files.delete_file(version)

    def refuse_unusable(self, keep_root: bool = True) -> None:
        """Raise FilesError unless the root can be written to, ConfigError if it holds something.

        Args:
            keep_root: Whether a root that was not there before is left, for the trials to come.
        """
        from pyarrow.fs import FileSelector, FileType

        probe = f"{self._root}/.writable"
        with self._named():
            is_new = self._files.get_file_info(self._root).type == FileType.NotFound
            self._files.create_dir(self._root, recursive=True)
            with self._files.open_output_stream(probe) as file:
                file.write(b"1")
            self._files.delete_file(probe)
            is_used = bool(self._files.get_file_info(FileSelector(self._root)))
            if is_new and not keep_root:
                self._files.delete_dir(self._root)
        if is_used:
            raise ConfigError(
                f"`--storage-path {self._uri}` is not empty; it may hold the trials of another "
                "run. Name a new folder in it."
            )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of an error where the files are."""
        try:
            yield
        except (OSError, ValueError) as error:  # pyarrow's are both
            raise FilesError(f"`{self._uri}` cannot be used: {first_line(error)}.") from None

    def below(self, name: str) -> TrialFiles:
        """Other files of the same trials, in a folder beside theirs."""
        path, mark, query = self._uri.partition("?") if "://" in self._uri else (self._uri, "", "")
        return TrialFiles(f"{path.rstrip('/')}/{name}{mark}{query}")

    def by_age(self) -> list[str]:
        """Return the names of the folders that hold files, the one written first at first."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._root, allow_not_found=True, recursive=True)
        with self._named():
            files = [f for f in self._files.get_file_info(selector) if f.type == FileType.File]
        written = {Path(f.path).parent.name: f.mtime_ns or 0 for f in files}
        return sorted(written, key=written.__getitem__)

    def _path(self, trial: int | str, name: str = "") -> str:
        folder = trial if isinstance(trial, str) else f"{trial:05d}"
        return f"{self._root}/{folder}" + (f"/{name}" if name else "")


class _ArrowFiles:
    """File system of pyarrow, as `atomic.FileSystem`."""

    def __init__(self, files: Any) -> None:
        self._files = files

    def is_file(self, path: str) -> bool:
        """Return whether a file exists."""
        from pyarrow.fs import FileType

        return bool(self._files.get_file_info(path).type == FileType.File)

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        with self._files.open_input_stream(path) as file:
            return bytes(file.read())

    def write(self, path: str, content: bytes) -> None:
        """Write a file and its folder."""
        self._files.create_dir(path.rpartition("/")[0], recursive=True)
        with self._files.open_output_stream(path) as file:
            file.write(content)

    def move(self, source: str, target: str) -> None:
        """Rename a file, replacing the target."""
        self._files.move(source, target)
