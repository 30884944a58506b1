"""Signals that end a command: Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes."""

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
_RETRY_SECONDS = 0.1  # before a lost interruption is raised again


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
    """Handler of signals that raises `Interrupted` and ensures that it is not lost.

    Python drops an exception that is raised in a destructor, a callback or C code: it prints
    "Exception ignored in ..." and continues. Such an exception is raised again shortly after.
    An exception that a library has caught is raised by `check` or at the end of the block.

    A signal that is ignored at the start of the block, as SIGHUP is under nohup, stays ignored.

    Args:
        announce: Called with the name of a signal that has to wait, see `held`.
    """

    heard: Interrupted | None = None

    def __init__(self, announce: Callable[[str], None] = lambda _: None) -> None:
        self._announce = announce
        self._is_held = False

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Handle signals within this block, which must run in the main thread."""
        previous = {number: signal.getsignal(number) for number in SIGNALS}
        hook = sys.unraisablehook

        def on_unraisable(lost: sys.UnraisableHookArgs) -> None:
            if isinstance(lost.exc_value, KeyboardInterrupt) and self.heard:
                timer = threading.Timer(_RETRY_SECONDS, os.kill, (os.getpid(), self.heard.signal))
                timer.daemon = True
                timer.start()
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
            for number, handler in previous.items():
                _restore(number, handler)

    def listen(self) -> None:
        """Install the handler, also in place of one that a library has installed since."""
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def check(self) -> None:
        """Raise an interruption that has not ended the block yet."""
        if self.heard:
            raise self.heard

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay the first signal until the end of the block; a second signal interrupts at once.

        Use it for steps that must not be interrupted halfway.
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
    """Return whether a signal ends the command at once: a second Ctrl-C or SIGTERM does.

    A second SIGHUP does not: the shell of a terminal that closes sends one as well.

    Args:
        number: Number of the signal.
        is_first: Whether it is the first signal of the block.
    """
    return not is_first and number != signal.SIGHUP


@contextmanager
def hangups_blocked() -> Iterator[None]:
    """Let processes that are started within this block outlive the terminal.

    They inherit a signal mask that blocks SIGHUP.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _restore(number: int, handler: Handler) -> None:
    if handler is not None:  # Python cannot name a handler that was not set by Python
        signal.signal(number, handler)
