"""Standard output and error of a command, which may break or take less than Unicode.

A command that writes its results to files prints its progress: it continues if the reader of
the progress is gone. A command that prints its result ends instead.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

READER_GONE_EXIT_CODE = 128 + signal.SIGPIPE
"""Exit code that a shell reports for a program that wrote into a pipe without a reader."""

_READER_GONE = (errno.EPIPE, errno.EIO)  # of a pipe, and of a terminal that was closed
_NAMES = {1: "standard output", 2: "standard error"}

log = logging.getLogger(__name__)


@dataclass
class _Policy:
    """Reaction of a command to output that cannot be written."""

    goes_on: bool = False


_policy = _Policy()  # of the process, as its standard streams are


def install() -> None:
    """Replace the standard streams of this process by streams that follow this module's rules.

    Characters that their encoding lacks are written as escapes, such as `\\u2026`.
    """
    _fill_closed_descriptors()
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue  # closed, or replaced by a caller that reads what is printed
        with suppress(OSError):
            stream.flush()
        setattr(sys, name, _text_stream(descriptor, stream.encoding))


@contextmanager
def as_a_display() -> Iterator[None]:
    """Let a command continue within this block if its output cannot be written.

    The first failure of each of the two streams is logged.
    """
    previous, _policy.goes_on = _policy.goes_on, True
    try:
        yield
    finally:
        # Buffered output was printed under this rule.
        flush()
        _policy.goes_on = previous


def flush() -> None:
    """Write the buffer of standard output.

    Raises:
        SystemExit: The output is the command's result, and its reader is gone.
        OSError: The output is the command's result, and cannot be written.
    """
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def write_result(lines: Iterable[str]) -> None:
    """Write the result of a command to standard output, as UTF-8 like every file.

    Args:
        lines: Lines of the result, each with its line break.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="strict")
    sys.stdout.writelines(lines)
    sys.stdout.flush()


def is_output_error(error: OSError) -> bool:
    """Return whether an error was raised by a standard stream."""
    return error.filename in _NAMES.values()


class _Sink(io.RawIOBase):
    """Raw stream that writes to a file descriptor until it fails, and drops output from then on.

    It is unbuffered: Python locks a buffer while it writes, so that a signal handler that prints
    within a write would raise.
    """

    def __init__(self, descriptor: int) -> None:
        self.name = _NAMES[descriptor]
        self._descriptor = descriptor
        self._is_broken = False

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        rest = view
        while len(rest) and not self._is_broken:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another program has made the terminal non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self._is_broken = True
                self._tell(error)
        return len(view)

    def _tell(self, error: OSError) -> None:
        is_error_stream = self._descriptor == 2
        if _policy.goes_on or is_error_stream:
            # Without a handler the line would go to standard error, which is broken itself.
            if log.hasHandlers() or not is_error_stream:
                log.warning(
                    "%s cannot be written any more (%s): what is printed is dropped from here "
                    "on, and the command goes on",
                    self.name.capitalize(),
                    error.strerror,
                )
        elif error.errno in _READER_GONE:
            raise SystemExit(READER_GONE_EXIT_CODE)
        else:
            raise OSError(error.errno, error.strerror, self.name)


def _text_stream(descriptor: int, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        _Sink(descriptor),  # a raw stream, as with `python -u`
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )


def _fill_closed_descriptors() -> None:
    """Open standard streams that are closed; else the next file would get their number."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
