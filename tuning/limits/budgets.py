"""What a trial and a search may use: memory, time, and how many trials fit a machine."""

from __future__ import annotations

from collections.abc import Callable


class TimeBudget:
    """Hours that a search may take; `elapsed` tells the seconds that it has run."""

    def __init__(self, hours: float, elapsed: Callable[[], float]) -> None:
        self.hours = hours
        self.elapsed = elapsed

    def left(self) -> float:
        """Seconds until the budget ends, at least 0."""
        return max(self.hours * 3600.0 - self.elapsed(), 0.0)

    def __call__(self) -> str:
        """Why the search is over, once nothing is left."""
        return "" if self.left() else f"time budget of {self.hours:g} h"


class CoreBudget:
    """Core-hours that the trials of a search may take together; `spent` tells the seconds."""

    def __init__(self, core_hours: float, spent: Callable[[], float]) -> None:
        self._core_hours, self._spent = core_hours, spent

    def __call__(self) -> str:
        """Why the search is over, once nothing is left."""
        is_left = self._spent() < self._core_hours * 3600.0
        return "" if is_left else f"budget of {self._core_hours:g} core-hours"
