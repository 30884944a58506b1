"""ASHA on our own epochs, and the ways in which it must not decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ray.tune import Stopper
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from tuning.records import EPOCH, FAILURE, NUMBER, OBJECTIVE
from tuning.space import Space


class Asha(AsyncHyperBandScheduler):  # type: ignore[misc]  # Ray ships no types
    """Asynchronous successive halving (Li et al., arXiv:1810.05934).

    A trial without a finite objective counts as the worst and stops, where Ray
    would let NaN run on. Protected trials fill their rungs but are never
    stopped: they are the configurations that the search is compared with.
    """

    def __init__(self, max_epochs: int, grace: int, reduction: float, protected: set[int]) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=OBJECTIVE,
            mode="max",
            max_t=max_epochs,
            grace_period=grace,
            reduction_factor=reduction,
        )
        self._protected = protected

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on after an epoch."""
        if FAILURE in result or not math.isfinite(result[OBJECTIVE]):
            return str(TrialScheduler.STOP)
        decision = str(super().on_trial_result(tune_controller, trial, result))
        protected = trial.config[NUMBER] in self._protected
        return str(TrialScheduler.CONTINUE) if protected else decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Fill the last rung; what failed fills none."""
        if FAILURE in result or not math.isfinite(result.get(OBJECTIVE, math.nan)):
            self._trial_info.pop(trial.trial_id, None)
            return
        super().on_trial_complete(tune_controller, trial, result)


class AtEnding(Stopper):  # type: ignore[misc]  # Ray ships no types
    """Stops each trial at its next report once the search is over.

    The same path as ASHA's, so that everybody is told; Ray's own time budget
    tells neither searcher nor callbacks.
    """

    def __init__(self, ending: Callable[[], str]) -> None:
        self._ending = ending

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._ending())

    def stop_all(self) -> bool:
        return False


def make_scheduler(space: Space) -> TrialScheduler:
    """The scheduler that a space names; its start points are protected."""
    scheduler, budget = space.header.scheduler, space.header.budget
    if scheduler.name == "none":
        return FIFOScheduler()
    return Asha(
        budget.epochs,
        min(scheduler.grace_epochs, budget.epochs),
        scheduler.reduction_factor,
        set(range(len(space.header.start_from))),
    )
