"""Rules that stop weak trials."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from tuning.space import Space


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
