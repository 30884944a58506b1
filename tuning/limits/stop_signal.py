"""The signal that ends a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuning.records import Clock


class StopSignal:
    """Why a search is over: `""` while it is not. The first reason stays.

    limits: budgets, each of which says why it is exhausted once it is.
    """

    def __init__(self, limits: Sequence[Callable[[], str]], clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._reason = ""
        self._since = 0.0
        self.is_at_once = False  # without waiting for trials to come to their next report

    def stop(self, reason: str) -> None:
        """End the search, unless it is over already."""
        if not self._reason:
            self._reason, self._since = reason, self._clock()

    def __call__(self) -> str:
        """The reason, once there is one."""
        for limit in self._limits:
            if not self._reason and (reason := limit()):
                self.stop(reason)
        return self._reason

    def seconds(self) -> float:
        """How long the search has been over."""
        return self._clock() - self._since if self() else 0.0
