"""Rules that stop weak trials by their values at epochs.

The state of a rule follows from the values alone, so a continued search refills it from its
study and decides as if it had never stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from tuning.space import SCHEDULERS, Space, rung_epochs
from tuning.study.view import StudyView


class Rule(Protocol):
    """Decision on one trial after another, epoch by epoch."""

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Return whether a trial should stop after an epoch.

        Args:
            trial: Number of the first attempt at the trial's configuration; another attempt,
                after a worker was lost, reports the same epochs once more.
            epoch: Epoch that the trial has reported.
            value: Value of the trial at the epoch, the higher the better.
        """
        ...


def make_rule(space: Space, view: Callable[[], StudyView]) -> Rule:
    """Return the rule that a space names, filled with the values of earlier sessions.

    Args:
        space: Space of the search.
        view: Returns the study as it is now.
    """
    rule: Rule = SCHEDULERS[space.header.scheduler.name](space, view)
    if not space.is_population:  # a population looks the values up itself
        fill(rule, view().rung_values())
    return rule


def fill(rule: Rule, values: Mapping[int, Mapping[int, float]]) -> None:
    """Pass values of earlier sessions through a rule.

    Args:
        rule: Rule that has seen no value.
        values: Configuration -> epoch -> value.
    """
    for trial, curve in values.items():
        for epoch, value in sorted(curve.items()):
            rule.stops(trial, epoch, value)


def asha(space: Space, view: Callable[[], StudyView]) -> Rule:
    """Return asynchronous successive halving."""
    return _halving(space, n_brackets=1)


def hyperband(space: Space, view: Callable[[], StudyView]) -> Rule:
    """Return asynchronous Hyperband: successive halving with several brackets."""
    return _halving(space, space.header.scheduler.brackets)


def median(space: Space, view: Callable[[], StudyView]) -> Rule:
    """Return the median stopping rule."""
    return MedianRule(_grace(space), space.header.sampler.startup_trials)


def no_rule(space: Space, view: Callable[[], StudyView]) -> Rule:
    """Return a rule that stops no trial."""
    return NoRule()


def _halving(space: Space, n_brackets: int) -> Rule:
    return SuccessiveHalving(
        space.header.budget.epochs,
        _grace(space),
        space.header.scheduler.reduction_factor,
        n_brackets=n_brackets,
        seed=space.header.sampler.seed,
    )


def _grace(space: Space) -> int:
    return min(space.header.scheduler.grace_period, space.header.budget.epochs)


class SuccessiveHalving:
    """Asynchronous successive halving: ASHA (Li et al., arXiv:1810.05934).

    At each rung, grace * reduction**k epochs, a trial goes on if it is among the best
    1/reduction of the trials that reached the rung before it. With several brackets,
    asynchronous Hyperband: the first rung of bracket b is b steps later, and a trial's bracket
    is drawn by the seed and its number, the early ones more often.

    Args:
        max_epochs: Epochs of a trial.
        grace: First rung.
        reduction: Factor between two rungs.
        n_brackets: Number of brackets.
        seed: Seed of the brackets.
    """

    def __init__(
        self, max_epochs: int, grace: int, reduction: float, n_brackets: int = 1, seed: int = 0
    ) -> None:
        rungs = rung_epochs(max_epochs, grace, reduction)
        self._brackets: list[dict[int, dict[int, float]]] = [
            {rung: {} for rung in rungs[first:]} for first in range(min(n_brackets, len(rungs)))
        ]
        self._reduction, self._seed = reduction, seed

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Return whether the value is too low for the highest rung that the trial has reached."""
        rungs = self._brackets[self._bracket(trial)]
        rung = max((rung for rung in rungs if rung <= epoch), default=None)
        if rung is None or trial in rungs[rung]:
            return False
        competitors = list(rungs[rung].values())
        rungs[rung][trial] = value
        if not competitors:
            return False
        return value < float(np.quantile(competitors, 1.0 - 1.0 / self._reduction))

    def rungs(self) -> list[dict[int, int]]:
        """Return the number of trials at each rung, by bracket."""
        return [{rung: len(seen) for rung, seen in bracket.items()} for bracket in self._brackets]

    def _bracket(self, trial: int) -> int:
        if len(self._brackets) == 1:
            return 0
        # A bracket that starts a rung later gives each of its trials reduction times the epochs.
        shares = self._reduction ** -np.arange(len(self._brackets), dtype=np.float64)
        rng = np.random.default_rng([self._seed, trial])
        return int(rng.choice(len(self._brackets), p=shares / shares.sum()))


class MedianRule:
    """Rule that stops a trial below the median of the other trials' averages up to its epoch.

    The median stopping rule of Golovin et al., "Google Vizier", KDD 2017.

    Args:
        grace: Epochs that every trial gets.
        startup_trials: Trials that must have reached an epoch before one is stopped there.
    """

    def __init__(self, grace: int, startup_trials: int) -> None:
        self._grace, self._startup_trials = grace, startup_trials
        self._values: defaultdict[int, dict[int, float]] = defaultdict(dict)

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Return whether the trial is worse than half of the other trials were."""
        if epoch in self._values[trial]:
            return False
        self._values[trial][epoch] = value
        averages = [
            float(np.mean([v for e, v in values.items() if e <= epoch]))
            for number, values in self._values.items()
            if number != trial and max(values) >= epoch
        ]
        if epoch < self._grace or len(averages) < self._startup_trials:
            return False
        return value < float(np.median(averages))


class NoRule:
    """Rule that stops no trial."""

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Return False."""
        return False
