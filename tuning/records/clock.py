"""Clocks that a search is given, so that tests can set the time."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]

LONGEST_TURN_SECONDS = 5.0
"""Longest time between two readings that counts; Ray's loop reads some ten times a second.

In a longer gap the driver did not run: it was stopped, or its machine was suspended.
"""


class AttendedClock:
    """Clock that stands still while nothing reads it.

    A driver that is stopped (Ctrl-Z, a suspended laptop, a preempted virtual machine) receives
    no reports, and its trials may have been stopped with it. That time does not count.

    Args:
        clock: Clock to read, in seconds.
        longest_turn: Longest gap between two readings that counts, in seconds.

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
        """Return the seconds of the clock, without the gaps that were too long."""
        now = self._clock()
        gap = 0.0 if self._last is None else now - self._last
        self._last = now
        if gap > self._longest_turn:
            self._unattended += gap
        return now - self._unattended
