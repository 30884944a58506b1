"""Who stops weak trials: rules on the values of epochs, and their place in Ray Tune.

A rule's state follows from the values alone, so a continued search refills it
from its study and decides as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import Any

import ray
from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuning.algorithms.rules import Rule
from tuning.records import (
    DONOR,
    EPOCH,
    FAILURE,
    NUMBER,
    OBJECTIVE,
    ORIGIN,
    PROTECTED,
    SECONDS,
    SPENT,
    comparison_value,
)

_REMEMBERED = 16  # trials that are over; Ray makes its result of at least one


class StopByRule(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """A rule as Ray Tune's scheduler.

    A trial without a finite objective stops, where Ray's own would let NaN run on.
    Protected trials are taken into account but never stopped: they are the
    configurations that the search is compared with. on_tick: called at every turn of
    Ray's loop with its controller, some ten times a second. turns_at: epochs after which a
    trial lets one that waits go first, so that many advance side by side on few cores.
    is_population: whose members are compared by what they are now, see `records.compared`.
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
        self._epochs: dict[int, int] = {}  # how far each trial has come
        self._turns: dict[int, int] = {}  # when it last let another go first

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on after an epoch."""
        if FAILURE in result or not math.isfinite(result[OBJECTIVE]):
            return str(TrialScheduler.STOP)
        number, epoch = trial.config[NUMBER], result[EPOCH]
        value = comparison_value(result, self._is_population)
        stops = self._rule.stops(trial.config[ORIGIN], epoch, value)
        if stops and not trial.config[PROTECTED]:
            return str(TrialScheduler.STOP)
        is_new = epoch > self._epochs.get(number, 0)
        self._epochs[number] = max(epoch, self._epochs.get(number, 0))
        if is_new and epoch in self._turns_at and self._lets_go_first(tune_controller, epoch):
            # Its worker takes the next trial; its own progress is on disk.
            trial.config[SPENT] = result.get(SECONDS, 0.0)
            self._turns[number] = max(self._turns.values(), default=0) + 1
            tune_controller.pause_trial(trial, should_checkpoint=False)
            return str(TrialScheduler.NOOP)
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Forget what a dead worker was asked: whoever waits for the answer gets its error."""
        trial._default_result_or_future = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles a scheduler only to restore it, and here the study does that."""
        return {}

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next trial that waits; Ray asks at every turn of its loop."""
        self._on_tick(tune_controller)
        return min(_waiting(tune_controller), key=self._order, default=None)

    def _lets_go_first(self, tune_controller: Any, epoch: int) -> bool:
        """Whether a trial waits that has come no further."""
        return any(self._order(trial)[0] <= epoch for trial in _waiting(tune_controller))

    def _order(self, trial: Any) -> tuple[int, int, int]:
        """Who has come least far goes first, then who waits for the longest time."""
        number, donor = trial.config[NUMBER], trial.config.get(DONOR)
        epoch = self._epochs.get(number, donor[1] if donor else 0)
        return epoch, self._turns.get(number, 0), number


def _waiting(tune_controller: Any) -> list[Any]:
    trials = tune_controller.get_trials()
    return [trial for trial in trials if trial.status in (trial.PENDING, trial.PAUSED)]


class AtEnding(Stopper):  # type: ignore[misc]  # Ray ships no types
    """Stops each trial at its next report once the search is over.

    The same path as the scheduler's, so that everybody is told; Ray's own time
    budget tells neither searcher nor callbacks.
    """

    def __init__(self, ending: Callable[[], str]) -> None:
        self._ending = ending

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as with the scheduler."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._ending())

    def stop_all(self) -> bool:
        return False


def stop_with_worker(tune_controller: Any, trial: Any) -> None:
    """Stop a trial that does not report, and kill its worker, which cannot be asked to end.

    Ray would give the worker to the next trial, which would then wait for what hangs in it.
    """
    controller = tune_controller.stop_trial.__self__  # a scheduler gets a wrapper around it
    worker = trial.temporary_state.ray_actor
    reuse, controller._reuse_actors = controller._reuse_actors, False
    try:
        controller.stop_trial(trial)
    finally:
        controller._reuse_actors = reuse
    if worker is not None:
        ray.kill(worker)


def forget_finished(tune_controller: Any) -> None:
    """Let Ray's loop let go of all but the latest trials that are over.

    The study has them. Ray keeps some 60 kB of each, and looks at all of them at every turn.
    """
    controller = tune_controller.stop_trial.__self__  # see `stop_with_worker`
    over = [trial for trial in controller._trials if trial.is_finished()][:-_REMEMBERED]
    for trial in over:
        controller._trials.remove(trial)
    for known in (
        controller._stopped_trials,
        controller._failed_trials,
        controller._trials_to_cache,
    ):
        known.difference_update(over)
