"""Opening of files in run folders, bundles and indexes, which may come from anybody.

In such a folder a link may lead to any file of the user, a FIFO blocks its reader for ever, and a
device has no end. Only regular files are opened here, and only up to a size. Errors are of the
kind `OSError`, whose `strerror` completes the sentence "The file cannot be read: ...".
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from pathlib import Path
from typing import Any, Literal, cast

MAX_RECORD = 2**25
"""Largest JSON record that is read, in bytes: the scores of several 100,000 queries."""

MAX_WEIGHTS = 2**30
"""Largest file of weights or checkpoint that is read, in bytes."""

Mode = Literal["rb", "r+b", "ab", "a+b", "wb"]
_FLAGS: dict[Mode, int] = {
    "rb": os.O_RDONLY,
    "r+b": os.O_RDWR,
    "ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT,
    "a+b": os.O_RDWR | os.O_APPEND | os.O_CREAT,
    "wb": os.O_WRONLY | os.O_CREAT,
}
_LINK = "it is a link, which may lead anywhere. Replace it by the file itself"
_SPECIAL = "it is not a regular file, but a FIFO, a socket or a device"


def open_regular(
    path: str | os.PathLike[str], mode: Mode = "rb", follow_link: bool = False
) -> io.BufferedRandom:
    """Open a regular file, by default without following a link in the place of its name.

    Args:
        path: File. The folders above it may be links.
        mode: Mode as of `open`; `wb` empties the file.
        follow_link: Whether the name may be a link, as in a folder that the user has arranged.

    Raises:
        OSError: The path is a link, a FIFO, a socket or a device, or cannot be opened.
    """
    # Without O_NONBLOCK, opening a FIFO would wait for its other end.
    flags = _FLAGS[mode] | os.O_NONBLOCK | os.O_CLOEXEC
    if not follow_link:
        flags |= os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError:
        require_regular(path, follow_link)
        raise
    try:
        _refuse_special(os.fstat(descriptor).st_mode, path)
        if mode == "wb":
            os.ftruncate(descriptor, 0)
        return cast(io.BufferedRandom, os.fdopen(descriptor, mode))
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(path: str | os.PathLike[str], follow_link: bool = False) -> None:
    """Check a file that a library opens by its path. A missing file is accepted.

    Args:
        path: File.
        follow_link: Whether the name may be a link.

    Raises:
        OSError: The path is a link, a FIFO, a socket, a device or a folder, or cannot be reached.
    """
    try:
        mode = Path(path).stat(follow_symlinks=follow_link).st_mode
    except FileNotFoundError:
        return
    _refuse_special(mode, path)


def require_regular_tree(folder: Path, exempt: tuple[str, ...] = ()) -> None:
    """Check that a folder holds regular files and folders only.

    Args:
        folder: Folder, which may be a link itself.
        exempt: Names of folders right below it whose contents are not checked.

    Raises:
        OSError: A file or folder in it is a link, a FIFO, a socket or a device.
    """
    left = [folder]
    while left:
        current = left.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    _refuse_special(entry.stat(follow_symlinks=False).st_mode, entry.path)
                elif current != folder or entry.name not in exempt:
                    left.append(Path(entry.path))


def read_regular(
    path: str | os.PathLike[str], limit: int = MAX_RECORD, follow_link: bool = False
) -> bytes:
    """Read a regular file.

    Args:
        path: File.
        limit: Largest size in bytes.
        follow_link: Whether the name may be a link.

    Raises:
        OSError: The file is larger, is a link or no regular file, or cannot be read.
    """
    with open_regular(path, follow_link=follow_link) as file:
        require_at_most(limit, file, path)
        return file.read(limit)


def require_at_most(limit: int, file: io.BufferedRandom, path: str | os.PathLike[str]) -> None:
    """Check the size of an open file.

    Raises:
        OSError: The file has more bytes than the limit.
    """
    size = os.fstat(file.fileno()).st_size
    if size > limit:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, but the limit is {limit:,}", str(path))


def read_tail(path: str | os.PathLike[str], limit: int) -> bytes:
    """Read the last bytes of a regular file.

    Args:
        path: File.
        limit: Largest number of bytes.

    Raises:
        OSError: The file is a link or no regular file, or cannot be read.
    """
    with open_regular(path) as file:
        file.seek(-min(limit, os.fstat(file.fileno()).st_size), io.SEEK_END)
        return file.read(limit)


def read_json(path: str | os.PathLike[str], follow_link: bool = False) -> Any:
    """Read a JSON file of UTF-8, of MAX_RECORD bytes at most.

    Args:
        path: File.
        follow_link: Whether the name may be a link.

    Raises:
        OSError: The file is larger, is a link or no regular file, or cannot be read.
        ValueError: The content is not JSON, or is nested too deeply.
    """
    text = read_regular(path, follow_link=follow_link).decode("utf-8")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_regular(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a regular file, replacing its content.

    Raises:
        OSError: The path is a link or no regular file, or cannot be written.
    """
    with open_regular(path, "wb") as file:
        file.write(content)


def reason(error: Exception) -> str:
    """Return the cause of an error in one line, without its number and its path."""
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error) or type(error).__name__).split()).rstrip(".")


def _refuse_special(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    text = _LINK if stat.S_ISLNK(mode) else _SPECIAL
    # The kind of error that `O_NOFOLLOW` causes, which commands print without a traceback.
    raise OSError(errno.ELOOP, text, str(path))
