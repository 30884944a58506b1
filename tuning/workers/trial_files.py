"""Where the files of trials are: a folder per trial below one root, local or remote.

What is written is whole or not there, and the version before it stays until it
is: a worker may be killed at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

BEST_EPOCH, PROGRESS = "best.safetensors", "progress.safetensors"
DONORS = "donors"  # below the root: a folder per configuration, what its clones start from
_OLDER, _UNFINISHED = ".before", ".unfinished"


def donated(epoch: int) -> str:
    """The name of a training as it was after an epoch, kept for those that may clone it."""
    return f"epoch-{epoch:05d}.safetensors"


class TrialFiles:
    """Files of trials, by the trial's number and a name.

    root: a folder, or a URI that pyarrow knows (`s3://bucket/runs/7`, `gs://...`).
    """

    def __init__(self, root: str) -> None:
        from pyarrow.fs import FileSystem, LocalFileSystem

        self._given = root
        if "://" in root:
            self._files, self._root = FileSystem.from_uri(root)
        else:
            self._files, self._root = LocalFileSystem(), str(Path(root).resolve())

    def write(self, trial: int, name: str, content: bytes) -> None:
        """Put a file in place; the one that was there stays as its older version."""
        path = self._path(trial, name)
        self._files.create_dir(self._path(trial), recursive=True)
        with self._files.open_output_stream(path + _UNFINISHED) as file:
            file.write(content)
        if self._is_file(path):
            self._files.move(path, path + _OLDER)
        self._files.move(path + _UNFINISHED, path)

    def versions(self, trial: int, name: str) -> Iterator[bytes]:
        """What there is of a file, the newest first; nothing if nothing was written."""
        path = self._path(trial, name)
        for version in (path, path + _OLDER):
            try:
                with self._files.open_input_stream(version) as file:
                    content = file.read()
            except FileNotFoundError:
                continue
            yield content

    def remove(self, trial: int) -> None:
        """Delete a trial's folder, if it has one."""
        try:
            self._files.delete_dir(self._path(trial))
        except FileNotFoundError:
            return

    def remove_file(self, trial: int, name: str) -> None:
        """Delete a file in all its versions, if it is there."""
        for version in (name, name + _OLDER, name + _UNFINISHED):
            if self._is_file(self._path(trial, version)):
                self._files.delete_file(self._path(trial, version))

    def below(self, name: str) -> TrialFiles:
        """Other files of the same trials, in a folder beside theirs."""
        return TrialFiles(f"{self._given.rstrip('/')}/{name}")

    def _path(self, trial: int, name: str = "") -> str:
        return f"{self._root}/{trial:05d}" + (f"/{name}" if name else "")

    def _is_file(self, path: str) -> bool:
        from pyarrow.fs import FileType

        return bool(self._files.get_file_info(path).type == FileType.File)
