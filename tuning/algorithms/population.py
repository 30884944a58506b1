"""Population based training over a study: who gives way, to a clone of whom.

Members are compared at the same epochs, each as it comes there (Jaderberg et al.,
"Population Based Training of Neural Networks", arXiv:1711.09846, with truncation
selection). One of the lowest is PRUNED, and a clone takes its place: a trial of its own,
which goes on from the weights that one of the highest had at that epoch, with other numbers.
Nothing is remembered here: all that decides is in the study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuning.algorithms.exploration import explored
from tuning.space import Params, Space, donors_kept
from tuning.study.attributes import AT_EPOCH, CLONES, REPLACES, START_POINT
from tuning.study.history import attempts, exclude_warm_start, origins, scheduled_values
from tuning.study.lineage import came_to, given, open_configurations, without_successor

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_TRIES = 100  # to find parameters that no other trial has


def lowest(values: Mapping[int, float], quantile: float) -> list[int]:
    """Whose values are in the lowest quantile, the lowest first; of equal ones the later number.

    >>> lowest({0: 0.5, 1: 0.3, 2: 0.3, 3: 0.6}, 0.25)
    [2]
    """
    ordered = sorted(values, key=lambda number: (values[number], -number))
    return ordered[: _share(len(values), quantile)]


def highest(values: Mapping[int, float], quantile: float, population: int) -> list[int]:
    """Whose values are in the highest quantile of a population, the highest first.

    Never more than that of `population` values, however many have come: who is not among
    them now will never be, and its weights need not be kept.

    >>> highest({0: 0.5, 1: 0.3, 2: 0.5, 3: 0.6}, 0.5, population=8)
    [3, 0]
    """
    ordered = sorted(values, key=lambda number: (-values[number], number))
    return ordered[: min(_share(len(values), quantile), donors_kept(population, quantile))]


class Population:
    """A rule that stops members, and who follows them.

    trials: the study's, all of them by number, as they are when it is asked.
    """

    def __init__(self, space: Space, trials: Callable[[], Sequence[FrozenTrial]]) -> None:
        self._space, self._trials = space, trials
        self._scheduler = space.header.scheduler
        self._stopped: set[int] = set()  # asked to stop, and maybe not told yet

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Whether a member gives way: it is among the lowest, and a better one may be cloned.

        Start points never do. What was decided about a configuration is not decided again when
        its epochs are reported once more.
        """
        if epoch not in self._space.perturbation_epochs():
            return False
        trials = self._trials()
        configuration = attempts(trials, trial)[-1]
        latest = max(n for n, first in origins(trials).items() if first == configuration)
        chain = attempts(trials, latest)
        if any(epoch in scheduled_values(trials[one]) for one in chain):
            return False
        if START_POINT in trials[latest].user_attrs:
            return False
        came = {n: t.intermediate_values[epoch] for n, t in came_to(trials, epoch).items()}
        values = {**came, configuration: value}
        if configuration not in lowest(values, self._scheduler.quantile) or not self._has_room(
            trials
        ):
            return False
        if not self._donors(values, value):
            return False
        self._stopped.add(latest)
        return True

    def may_grow(self) -> bool:
        """Whether a new member may be drawn: a place is free, and a trial is left for it."""
        trials = self._trials()
        at_work = len(open_configurations(trials)) + len(self._to_follow(trials))
        return at_work < self._scheduler.population and self._has_room(trials)

    def enqueue_clones(self, study: optuna.Study) -> None:
        """Queue a clone for every member that gave way and has none, each once.

        Safe to be called again after a death in the middle of it.
        """
        for stopped in self._to_follow(self._trials()):
            donor, params = self._clone(stopped)
            attributes = {CLONES: donor, AT_EPOCH: stopped.last_step, REPLACES: stopped.number}
            study.enqueue_trial(params, user_attrs=attributes)

    def _clone(self, stopped: FrozenTrial) -> tuple[int, Params]:
        """The donor of the clone that follows a member, and the clone's parameters."""
        trials = self._trials()
        donors = self._donors_for(stopped, trials)
        rng = np.random.default_rng([self._space.header.sampler.seed, stopped.number])
        number = int(rng.choice(list(donors)))
        taken = [given(trial) for trial in trials]
        for _ in range(_TRIES):
            params = explored(self._space, donors[number].params, self._scheduler, rng)
            if params not in taken:
                break
        return number, params

    def _to_follow(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Members that gave way, and whom a clone is to follow.

        Nobody follows where all who were better have failed since: the place is free again.
        """
        return [one for one in without_successor(trials) if self._donors_for(one, trials)]

    def _donors_for(
        self, stopped: FrozenTrial, trials: Sequence[FrozenTrial]
    ) -> dict[int, FrozenTrial]:
        """Of the highest where a member was stopped, those that were better, by configuration."""
        epoch = stopped.last_step
        if epoch is None or epoch not in self._space.perturbation_epochs():
            return {}
        came = came_to(trials, epoch)
        values = {number: trial.intermediate_values[epoch] for number, trial in came.items()}
        donors = self._donors(values, stopped.intermediate_values[epoch])
        return {number: came[number] for number in donors}

    def _donors(self, values: Mapping[int, float], value: float) -> list[int]:
        """Of the highest, those that are better than a value."""
        best = highest(values, self._scheduler.quantile, self._scheduler.population)
        return [number for number in best if values[number] > value]

    def _has_room(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether the budget has a trial that no configuration, and no one's successor, needs."""
        waiting = {trial.number for trial in self._to_follow(trials)}
        waiting |= {n for n in self._stopped if not trials[n].state.is_finished()}
        first = origins(trials)
        n_taken = len({first[trial.number] for trial in exclude_warm_start(trials)}) + len(waiting)
        return n_taken < self._space.header.budget.trials


def _share(n: int, quantile: float) -> int:
    return int(n * quantile + 1e-9)
