"""Budgets of a search: hours by a clock, and core-hours by the trials' reports."""

from __future__ import annotations

from collections.abc import Callable

from tuning.records import StopKind, StopReason


class TimeBudget:
    """Hours that a search may take.

    Args:
        hours: Budget of the search.
        elapsed: Returns the seconds that the search has run.
    """

    def __init__(self, hours: float, elapsed: Callable[[], float]) -> None:
        self.hours = hours
        self.elapsed = elapsed

    def left(self) -> float:
        """Return the seconds until the budget ends, at least 0."""
        return max(self.hours * 3600.0 - self.elapsed(), 0.0)

    def __call__(self) -> StopReason | None:
        """Return the reason to stop once nothing is left."""
        if self.left():
            return None
        return StopReason(StopKind.TIME_BUDGET, f"time budget of {self.hours:g} h")


class CoreBudget:
    """Core-hours that the trials of a search may take together.

    Args:
        core_hours: Budget of the search.
        spent: Returns the core-seconds that its trials have taken.
    """

    def __init__(self, core_hours: float, spent: Callable[[], float]) -> None:
        self._core_hours, self._spent = core_hours, spent

    def __call__(self) -> StopReason | None:
        """Return the reason to stop once nothing is left."""
        if self._spent() < self._core_hours * 3600.0:
            return None
        return StopReason(StopKind.CORE_BUDGET, f"budget of {self._core_hours:g} core-hours")
