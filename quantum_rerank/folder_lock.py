"""A run's folder belongs to one process at a time: who has it, and how it is taken."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantum_rerank.errors import OutputError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder alone; the system lets go of it when the process dies.

    The file stays: were it removed, two processes could each lock a file of that name.

    Raises: OutputError if another process holds it, or it cannot be written or locked.
    """
    try:
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"`{folder}` cannot be written: {error.strerror}.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise OutputError(
                f"Another process works in `{folder}` (process {file.read() or 'unknown'}). "
                "Wait for it, or end it first."
            ) from None
        except OSError as error:  # some network disks know no locks
            raise OutputError(
                f"`{folder}` cannot be locked: {error.strerror}. Name a folder on another disk."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(folder: Path) -> int | None:
    """The process that works in a folder, 0 if it has not said which; None if none does.

    The lock is asked for and let go of within microseconds, since only the system
    knows whether who wrote a process number is still alive.
    """
    try:
        with (folder / LOCK).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                number = file.read()
                return int(number) if number.isdigit() else 0
    except OSError:  # no lock was ever taken, or none that this user may see
        pass
    return None
