"""Signals that ask a command to end: Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | int | None

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_SECONDS = 0.1  # until an interruption that was lost is raised once more


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(self.name)

    @property
    def name(self) -> str:
        """Name of the signal in messages."""
        return "Ctrl-C" if self.signal == signal.SIGINT else self.signal.name

    @property
    def exit_code(self) -> int:
        """Exit code that a shell reports for a program ended by the signal."""
        return 128 + self.signal


class Interruption:
    """Raises `Interrupted` where a signal arrives, and makes sure that it is not lost.

    Python drops an exception that is raised in a destructor, a callback or code of C: it
    prints "Exception ignored in ..." and goes on. Such an exception is raised again soon
    after. One that a library has swallowed is raised by `check` or at the end of the block.

    A signal that is ignored when the block begins, as SIGHUP is under nohup, stays ignored.
    """

    heard: Interrupted | None = None

    def __init__(self, announce: Callable[[str], None] = lambda _: None) -> None:
        """Make one that listens to nothing yet.

        Args:
            announce: Called with the name of a signal that has to wait, see `held`.
        """
        self._announce = announce
        self._is_held = False

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Listen within this block, which belongs to the main thread."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        hook = sys.unraisablehook

        def on_unraisable(lost: sys.UnraisableHookArgs) -> None:
            if isinstance(lost.exc_value, KeyboardInterrupt) and self.heard:
                again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), self.heard.signal))
                again.daemon = True
                again.start()
            else:
                hook(lost)

        self.listen()
        sys.unraisablehook = on_unraisable
        try:
            yield self
            self.check()
        except Exception:  # such as a SystemError of C code in which an interruption was raised
            self.check()
            raise
        finally:
            sys.unraisablehook = hook
            for number, handler in before.items():
                _put_back(number, handler)

    def listen(self) -> None:
        """Take the signals, also from a library that has taken them meanwhile."""
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def check(self) -> None:
        """Raise what was heard and has not ended the block yet."""
        if self.heard:
            raise self.heard

    @contextmanager
    def held(self) -> Iterator[None]:
        """Run a block to its end before the first signal interrupts; a second one does at once.

        For steps that leave something half done where they are interrupted.
        """
        self.check()
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        self.check()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        is_first = self.heard is None
        self.heard = self.heard or Interrupted(number)
        if not self._is_held or is_urgent(number, is_first):
            raise self.heard
        if is_first:
            self._announce(self.heard.name)


def is_urgent(number: int, is_first: bool) -> bool:
    """Return whether a signal asks for an end at once: a second Ctrl-C or SIGTERM does.

    A second SIGHUP does not: of a terminal that closes, its shell sends one as well.
    """
    return not is_first and number != signal.SIGHUP


@contextmanager
def hangups_blocked() -> Iterator[None]:
    """Let processes that are started within this block outlive the terminal.

    They inherit that SIGHUP is blocked for them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _put_back(number: int, handler: Handler) -> None:
    if handler is not None:  # one that Python has not set is not known to it
        signal.signal(number, handler)
