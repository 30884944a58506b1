"""Population based training over a study: which members stop, and which clones follow them.

Members are compared at the same epochs, each as it reaches them (Jaderberg et al., "Population
Based Training of Neural Networks", arXiv:1711.09846, with truncation selection). One of the
lowest is PRUNED, and a clone takes its place: a trial of its own, which continues from the
weights that one of the highest had at that epoch, with other parameters. All that decides is
in the study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tuning.algorithms.exploration import explored
from tuning.records import Donor
from tuning.space import Params, Space
from tuning.study import attributes
from tuning.study.trials import parameters, scheduled_values
from tuning.study.view import StudyView

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_TRIES = 100  # to find parameters that no other trial has


def lowest(values: Mapping[int, float], n_members: int) -> list[int]:
    """Return the members with the lowest values, the lowest first; of equal ones the later number.

    Args:
        values: Member -> value.
        n_members: Members to return.

    >>> lowest({0: 0.5, 1: 0.3, 2: 0.3, 3: 0.6}, 1)
    [2]
    """
    return sorted(values, key=lambda number: (values[number], -number))[:n_members]


def highest(values: Mapping[int, float], n_members: int) -> list[int]:
    """Return the members with the highest values, the highest first; of equal ones the earlier.

    Args:
        values: Member -> value.
        n_members: Members to return.

    >>> highest({0: 0.5, 1: 0.3, 2: 0.5, 3: 0.6}, 2)
    [3, 0]
    """
    return sorted(values, key=lambda number: (-values[number], number))[:n_members]


class Population:
    """Rule that stops members of a population, and source of the clones that follow them.

    Args:
        space: Space of the search.
        view: Returns the study as it is now.
    """

    def __init__(self, space: Space, view: Callable[[], StudyView]) -> None:
        self._space, self._view = space, view
        self._scheduler = space.header.scheduler
        self._stopping: set[int] = set()  # asked to stop, and maybe not ended in the study yet

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Return whether a member stops: it is among the lowest, and a better one may be cloned.

        Start points never stop. A decision about a configuration is not made again when its
        epochs are reported once more.
        """
        if epoch not in self._space.perturbation_epochs():
            return False
        study = self._view()
        configuration = study.attempts(trial)[-1]
        latest = max(n for n, origin in study.origins.items() if origin == configuration)
        is_decided = any(epoch in scheduled_values(study[n]) for n in study.attempts(latest))
        if is_decided or attributes.start_point(study[latest]) is not None:
            return False
        values = {n: t.intermediate_values[epoch] for n, t in study.reached(epoch).items()}
        values[configuration] = value
        is_low = configuration in lowest(values, self._scheduler.share(len(values)))
        if not (is_low and self._has_room(study) and self._better(values, value)):
            return False
        self._stopping.add(latest)
        return True

    def may_grow(self) -> bool:
        """Return whether a new member may be drawn: a place is free, and a trial is left for it."""
        study = self._view()
        n_members = len(study.open_configurations()) + len(self._without_clone(study))
        return n_members < self._scheduler.population and self._has_room(study)

    def enqueue_clones(self, study: optuna.Study) -> None:
        """Queue a clone for every member that stopped and has none.

        Each is queued once, also where a session was killed in the middle of it.
        """
        for stopped in self._without_clone(self._view()):
            donor, params = self._clone(stopped)
            user_attrs = attributes.of_a_clone(donor, stopped.number)
            study.enqueue_trial(params, user_attrs=user_attrs)

    def _clone(self, stopped: FrozenTrial) -> tuple[Donor, Params]:
        """Return the donor of the clone that follows a member, and the clone's parameters."""
        study = self._view()
        donors = self._donors_for(stopped, study)
        rng = np.random.default_rng([self._space.header.sampler.seed, stopped.number])
        number = int(rng.choice(list(donors)))
        existing = [parameters(trial) for trial in study]
        for _ in range(_TRIES):
            params = explored(self._space, donors[number].params, self._scheduler, rng)
            if params not in existing:
                break
        assert stopped.last_step is not None
        return Donor(number, stopped.last_step), params

    def _without_clone(self, study: StudyView) -> list[FrozenTrial]:
        """Return the members that stopped and that a clone is to follow.

        None follows where all better members have failed since: the place is free again.
        """
        return [trial for trial in study.without_successor() if self._donors_for(trial, study)]

    def _donors_for(self, stopped: FrozenTrial, study: StudyView) -> dict[int, FrozenTrial]:
        """Return the highest members that were better where a member stopped, by configuration."""
        epoch = stopped.last_step
        if epoch is None or epoch not in self._space.perturbation_epochs():
            return {}
        members = study.reached(epoch)
        values = {number: trial.intermediate_values[epoch] for number, trial in members.items()}
        better = self._better(values, stopped.intermediate_values[epoch])
        return {number: members[number] for number in better}

    def _better(self, values: Mapping[int, float], value: float) -> list[int]:
        """Return the members of the highest quantile that are better than a value.

        They are never more than those of a whole population, however many members have reached
        the epoch: a member that is not among them now never will be, and its weights are removed.
        """
        n_highest = min(self._scheduler.share(len(values)), self._scheduler.n_donors)
        return [number for number in highest(values, n_highest) if values[number] > value]

    def _has_room(self, study: StudyView) -> bool:
        """Return whether the budget has a trial that no configuration and no clone needs."""
        waiting = {trial.number for trial in self._without_clone(study)}
        waiting |= {n for n in self._stopping if not study[n].state.is_finished()}
        n_configurations = len({study.origins[trial.number] for trial in study.searched()})
        return n_configurations + len(waiting) < self._space.header.budget.trials
