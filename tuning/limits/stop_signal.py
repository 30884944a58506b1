"""Signal that ends a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuning.records import Clock, StopReason


class StopSignal:
    """Reason for which a search ends; the first one that is given stays.

    Args:
        limits: Budgets, each of which returns a reason to stop once it is exhausted.
        clock: Seconds.
    """

    def __init__(self, limits: Sequence[Callable[[], StopReason | None]], clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._reason: StopReason | None = None
        self._since = 0.0
        self.is_at_once = False
        """True if trials are stopped now instead of at their next report."""

    def stop(self, reason: StopReason) -> None:
        """End the search, unless it has ended already."""
        if self._reason is None:
            self._reason, self._since = reason, self._clock()

    def __call__(self) -> StopReason | None:
        """Return the reason for which the search ends; None while it runs."""
        for limit in self._limits:
            if self._reason is None and (reason := limit()):
                self.stop(reason)
        return self._reason

    def seconds(self) -> float:
        """Return the seconds since the search was ended; 0 while it runs."""
        return self._clock() - self._since if self() else 0.0
