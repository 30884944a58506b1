"""Clocks."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]


LONGEST_TURN_SECONDS = 5.0
"""Between two looks at the deadlines, of which Ray's loop has some ten a second.

Beyond that the driver did not run: it was stopped, or its machine was suspended.
"""


class AttendedClock:
    """A clock that stands still while nobody looks at it.

    A driver that is stopped (Ctrl-Z, a suspended laptop, a preempted virtual machine) hears
    no reports, and its trials may have been stopped with it. That time is not theirs.

    >>> times = iter([0.0, 1.0, 61.0, 62.0])
    >>> clock = AttendedClock(lambda: next(times))
    >>> [clock() for _ in range(4)]
    [0.0, 1.0, 1.0, 2.0]
    """

    def __init__(self, clock: Clock, longest_turn: float = LONGEST_TURN_SECONDS) -> None:
        self._clock, self._longest_turn = clock, longest_turn
        self._last: float | None = None
        self._unattended = 0.0

    def __call__(self) -> float:
        """Seconds of the clock, without those between two calls that lie too far apart."""
        now = self._clock()
        gap = 0.0 if self._last is None else now - self._last
        self._last = now
        if gap > self._longest_turn:
            self._unattended += gap
        return now - self._unattended
