"""A study as a journal: a file that lines are appended to, also on a file system that is shared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import (
    BaseJournalBackend,
    JournalFileBackend,
    JournalFileOpenLock,
)

from quantum_rerank.regular_files import open_regular, require_regular


class WholeLines(BaseJournalBackend):
    """Optuna's journal, of which a line is whole or not there.

    A disk that is full, or a machine that goes down, may leave half a line; Optuna would
    append to it, and could never read the journal again.
    The lock is a file made with O_EXCL, which NFS knows from its version 3 on.
    """

    def __init__(self, path: Path) -> None:
        require_regular(path)
        self._path = path
        self._lock = JournalFileOpenLock(str(path))
        self._journal = JournalFileBackend(str(path), self._lock)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The operations from one on; half a line at the end is not read."""
        return self._journal.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations; if that fails, none of them is in the journal."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            append_whole(self._path, lines.encode())
        finally:
            self._lock.release()


def append_whole(path: Path, lines: bytes) -> None:
    """Append lines to a file in the place of half a line; what cannot be written is taken back.

    Raises: OSError.
    """
    with open_regular(path, "r+b") as buffered:
        file, end = buffered.raw, _end_of_lines(path)
        file.truncate(end)
        file.seek(end)
        try:
            left = lines
            while left:
                left = left[file.write(left) or 0 :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def _end_of_lines(path: Path, block: int = 4096) -> int:
    """Return the number of bytes of a file that are whole lines."""
    with open_regular(path) as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(end - block, 0)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
