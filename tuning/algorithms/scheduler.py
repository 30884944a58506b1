"""Who stops weak trials: rules on the values of epochs, and their place in Ray Tune.

A rule's state follows from the values alone, so a continued search refills it
from its study and decides as if it had never stopped.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Container, Mapping
from typing import Any, Protocol

import numpy as np
import ray
from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

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
from tuning.space import Space

_REMEMBERED = 16  # trials that are over; Ray makes its result of at least one


class Rule(Protocol):
    """Decides on one trial after another, epoch by epoch."""

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Take a trial's value at an epoch, the higher the better; True if it should stop.

        trial: the number of the first attempt at its configuration; another attempt, after a
            worker was lost, reports the same epochs once more.
        """
        ...


class SuccessiveHalving:
    """Asynchronous successive halving: ASHA (Li et al., arXiv:1810.05934).

    At each rung, grace * reduction**k epochs, a trial goes on if it is among the
    best 1/reduction of those that came there before it. With several brackets,
    asynchronous Hyperband: bracket b's first rung is b steps later, and a trial's
    bracket is drawn by the seed and its number, the early ones more often.
    """

    def __init__(
        self, max_epochs: int, grace: int, reduction: float, brackets: int = 1, seed: int = 0
    ) -> None:
        rungs = [round(grace * reduction**k) for k in range(_steps(max_epochs, grace, reduction))]
        self._brackets: list[dict[int, dict[int, float]]] = [
            {rung: {} for rung in rungs[first:]} for first in range(min(brackets, len(rungs)))
        ]
        self._reduction, self._seed = reduction, seed

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Whether the value is too low for the highest rung that the trial has come to."""
        rungs = self._brackets[self._bracket(trial)]
        rung = max((rung for rung in rungs if rung <= epoch), default=None)
        if rung is None or trial in rungs[rung]:
            return False
        others = list(rungs[rung].values())
        rungs[rung][trial] = value
        cutoff = np.quantile(others, 1.0 - 1.0 / self._reduction) if others else -math.inf
        return value < float(cutoff)

    def rungs(self) -> list[dict[int, int]]:
        """How many trials have come to each rung, by bracket."""
        return [{rung: len(seen) for rung, seen in bracket.items()} for bracket in self._brackets]

    def _bracket(self, trial: int) -> int:
        if len(self._brackets) == 1:
            return 0
        # A bracket that starts a rung later gives each of its trials reduction times the epochs.
        shares = self._reduction ** -np.arange(len(self._brackets), dtype=np.float64)
        rng = np.random.default_rng([self._seed, trial])
        return int(rng.choice(len(self._brackets), p=shares / shares.sum()))


class MedianRule:
    """Stops a trial whose value is below the median of the others' averages up to its epoch.

    The median stopping rule of Golovin et al., "Google Vizier", KDD 2017.
    """

    def __init__(self, grace: int, startup_trials: int) -> None:
        self._grace, self._startup_trials = grace, startup_trials
        self._values: defaultdict[int, dict[int, float]] = defaultdict(dict)

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Whether the trial is worse than half of the others were."""
        if epoch in self._values[trial]:
            return False
        self._values[trial][epoch] = value
        averages = [
            float(np.mean([v for e, v in values.items() if e <= epoch]))
            for other, values in self._values.items()
            if other != trial and max(values) >= epoch
        ]
        if epoch < self._grace or len(averages) < self._startup_trials:
            return False
        return value < float(np.median(averages))


class NoRule:
    """Stops nothing."""

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        return False


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


def make_rule(space: Space, history: Mapping[int, Mapping[int, float]]) -> Rule:
    """The rule that a space names, filled with the values that trials had in earlier sessions.

    history: trial number -> epoch -> value. A population's rule is `population.Population`,
    which looks them up itself.
    """
    scheduler, budget = space.header.scheduler, space.header.budget
    grace = min(scheduler.grace_period, budget.epochs)
    rule: Rule
    if scheduler.name == "none":
        return NoRule()
    if scheduler.name == "median":
        rule = MedianRule(grace, space.header.sampler.startup_trials)
    else:
        brackets = scheduler.brackets if scheduler.name == "hyperband" else 1
        seed = space.header.sampler.seed
        rule = SuccessiveHalving(budget.epochs, grace, scheduler.reduction_factor, brackets, seed)
    for trial, values in history.items():
        for epoch, value in sorted(values.items()):
            rule.stops(trial, epoch, value)
    return rule


def _steps(max_epochs: int, grace: int, reduction: float) -> int:
    """How many rungs there are: the powers of the reduction that fit, the first included."""
    return int(math.log(max_epochs / grace) / math.log(reduction) + 1e-9) + 1
