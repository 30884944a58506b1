"""The lock of a run's folder, which one process at a time can hold."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from quantum_rerank.errors import OutputError
from quantum_rerank.regular_files import open_regular, require_regular_tree

LOCK = ".lock"
_EXEMPT = ("wandb",)  # W&B makes links to its latest run, and replaces them


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder for the block. The system releases the lock if the process dies.

    The lock file is not removed: otherwise two processes could each lock a file of that name.

    Raises:
        OutputError: Another process holds the lock, or the folder cannot be written or locked, or
            holds a link or what is no regular file, through which other files could be written.
    """
    try:
        require_regular_tree(folder, _EXEMPT)
        file = TextIOWrapper(open_regular(folder / LOCK, "a+b"), encoding="utf-8")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OutputError(
                f"`{error.filename}` cannot be used: {error.strerror}. Nothing was written."
            ) from None
        raise OutputError(f"`{folder}` cannot be written: {error.strerror}.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise OutputError(
                f"Another process works in `{folder}` (process {file.read(20) or 'unknown'}). "
                "Wait for it, or end it first."
            ) from None
        except OSError as error:  # some network disks have no locks
            raise OutputError(
                f"`{folder}` cannot be locked: {error.strerror}. Name a folder on another disk."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(folder: Path) -> int | None:
    """Return the process that holds the lock of a folder.

    The lock is tried for a few microseconds, since only the system knows whether the process that
    wrote its number is still alive.

    Returns:
        The process number, 0 if it is unknown, or None if no process holds the lock.
    """
    try:
        with TextIOWrapper(open_regular(folder / LOCK), encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                number = file.read(20)
                return int(number) if number.isdigit() else 0
    except OSError:  # there is no lock file, or this user may not read it
        pass
    return None
