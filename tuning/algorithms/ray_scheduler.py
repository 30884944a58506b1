"""Place of a rule in Ray Tune: the scheduler, the stopper, and the trials that Ray forgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Any

import ray
from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuning.algorithms.rules import Rule
from tuning.records import (
    EPOCH,
    FAILURE,
    METADATA,
    OBJECTIVE,
    SECONDS,
    StopReason,
    comparison_value,
    metadata_of,
)

_REMEMBERED = 16  # ended trials; Ray makes its result of at least one


class StopByRule(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """Ray Tune's scheduler that applies a rule.

    A trial without a finite objective stops, where Ray's own schedulers would let NaN run on.
    Protected trials count for the rule but never stop: the search is compared with them.

    Args:
        rule: Rule that stops trials.
        on_tick: Called with Ray's controller at every turn of its loop, some ten times a second.
        turns_at: Epochs after which a trial lets a waiting one run first, so that many trials
            advance side by side on few cores.
        is_population: Whether the trials are members of a population, see `comparison_value`.
    """

    def __init__(
        self,
        rule: Rule,
        on_tick: Callable[[Any], None] = lambda _: None,
        turns_at: Container[int] = (),
        is_population: bool = False,
    ) -> None:
        super().__init__()
        self._rule = rule
        self._on_tick = on_tick
        self._turns_at = turns_at
        self._is_population = is_population
        self._epochs: dict[int, int] = {}  # last epoch of each trial
        self._turns: dict[int, int] = {}  # turn in which a trial last let another run first

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return Ray's decision on a trial after an epoch."""
        if FAILURE in result or not math.isfinite(result[OBJECTIVE]):
            return str(TrialScheduler.STOP)
        metadata, epoch = metadata_of(trial.config), result[EPOCH]
        value = comparison_value(result, self._is_population)
        stops = self._rule.stops(metadata.origin, epoch, value)
        if stops and not metadata.is_protected:
            return str(TrialScheduler.STOP)
        previous = self._epochs.get(metadata.number, 0)
        self._epochs[metadata.number] = max(epoch, previous)
        is_turn = epoch > previous and epoch in self._turns_at
        if not is_turn or not self._has_waiting(tune_controller, epoch):
            return str(TrialScheduler.CONTINUE)
        # The worker takes the next trial; the checkpoint of this one is on disk.
        spent = result.get(SECONDS, 0.0)
        trial.config[METADATA] = replace(metadata, spent_seconds=spent)
        self._turns[metadata.number] = max(self._turns.values(), default=0) + 1
        tune_controller.pause_trial(trial, should_checkpoint=False)
        return str(TrialScheduler.NOOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Drop what a dead worker was asked, so that its trial ends with the error."""
        trial._default_result_or_future = None

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles a scheduler only to restore it, which the study does here."""
        return {}

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the next waiting trial; Ray asks at every turn of its loop."""
        self._on_tick(tune_controller)
        return min(_waiting(tune_controller), key=self._order, default=None)

    def _has_waiting(self, tune_controller: Any, epoch: int) -> bool:
        """Return whether a trial waits that is no further than an epoch."""
        return any(self._order(trial)[0] <= epoch for trial in _waiting(tune_controller))

    def _order(self, trial: Any) -> tuple[int, int, int]:
        """Return a key by which trials of few epochs come first, then those that waited longest."""
        metadata = metadata_of(trial.config)
        start = metadata.donor.epoch if metadata.donor else 0
        epoch = self._epochs.get(metadata.number, start)
        return epoch, self._turns.get(metadata.number, 0), metadata.number


def _waiting(tune_controller: Any) -> list[Any]:
    trials = tune_controller.get_trials()
    return [trial for trial in trials if trial.status in (trial.PENDING, trial.PAUSED)]


class StopAtSignal(Stopper):  # type: ignore[misc]  # Ray ships no types
    """Stopper that ends each trial at its next report once the search ends.

    Trials end by the same path as with the scheduler, so that searcher and listeners receive the
    end; Ray's own time budget passes them over.

    Args:
        stop_signal: Returns the reason for which the search ends, or None.
    """

    def __init__(self, stop_signal: Callable[[], StopReason | None]) -> None:
        self._stop_signal = stop_signal

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing, as the scheduler does."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether the search has ended."""
        return self._stop_signal() is not None

    def stop_all(self) -> bool:
        """Return False: trials stop one by one."""
        return False


def stop_with_worker(tune_controller: Any, trial: Any) -> None:
    """Stop a trial that does not report, and kill its worker.

    Ray would give the worker to the next trial, which would wait for the code that hangs in it.
    """
    controller = (
        tune_controller.stop_trial.__self__
    )  # schedulers get a wrapper around the controller
    worker = trial.temporary_state.ray_actor
    reuse, controller._reuse_actors = controller._reuse_actors, False
    try:
        controller.stop_trial(trial)
    finally:
        controller._reuse_actors = reuse
    if worker is not None:
        ray.kill(worker)


def forget_finished(tune_controller: Any) -> None:
    """Remove all but the latest ended trials from Ray's loop.

    The study holds them. Ray keeps some 60 kB of each, and walks over all of them at every turn.
    """
    controller = tune_controller.stop_trial.__self__  # see `stop_with_worker`
    ended = [trial for trial in controller._trials if trial.is_finished()][:-_REMEMBERED]
    for trial in ended:
        controller._trials.remove(trial)
    for trials in (
        controller._stopped_trials,
        controller._failed_trials,
        controller._trials_to_cache,
    ):
        trials.difference_update(ended)
