"""CMA-ES whose state is computed from the finished trials of a study.

Optuna's `CmaEsSampler` stores its optimizer in the study as a pickle, which it executes when
the study is opened again. Here nothing but the number of a trial's generation is stored; the
optimizer is rebuilt for each proposal by telling it the finished trials, generation by
generation. The algorithm and its settings are those of Optuna (Hansen, arXiv:1604.00772).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import cmaes
import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

GENERATION = "cma:generation"  # system attribute of a trial: the generation it was drawn in


class CmaEs(BaseSampler):
    """Proposes the numeric parameters that all complete trials have; draws the others at random.

    Args:
        seed: of this proposal. It does not change the state, which follows from the study.
        startup_trials: complete trials before the first proposal.
    """

    def __init__(self, seed: int, startup_trials: int) -> None:
        self._seed, self._startup = seed, startup_trials
        self._independent = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the numeric parameters with more than one value that all complete trials have."""
        return {
            name: distribution
            for name, distribution in intersection_search_space(_complete(study)).items()
            if isinstance(distribution, FloatDistribution | IntDistribution)
            and not distribution.single()
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw from the distribution that the finished generations have led to."""
        complete = _complete(study)
        if not search_space or len(complete) < self._startup:
            return {}
        transform = _SearchSpaceTransform(search_space, transform_0_1=True)
        sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
        optimizer = self._rebuilt(transform, complete, sign)
        study._storage.set_trial_system_attr(trial._trial_id, GENERATION, optimizer.generation)
        return transform.untransform(optimizer.ask())

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that is not numeric, or that not every complete trial has."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _rebuilt(
        self, transform: _SearchSpaceTransform, complete: Sequence[FrozenTrial], sign: float
    ) -> cmaes.CMA:
        """Tell a new optimizer the trials of each generation that is finished.

        A generation consists of the trials that completed first, so that one which completes
        later does not change what earlier proposals were drawn from.
        """
        bounds = transform.bounds  # each from 0 to 1
        optimizer = cmaes.CMA(
            mean=np.full(len(bounds), 0.5),
            sigma=1 / 6,
            bounds=bounds,
            n_max_resampling=10 * len(bounds),
            seed=self._seed,
        )
        ordered = sorted(complete, key=_completion)
        while True:
            number, size = optimizer.generation, optimizer.population_size
            generation = [t for t in ordered if t.system_attrs.get(GENERATION) == number][:size]
            if len(generation) < size:
                return optimizer
            points = (np.clip(transform.transform(t.params), 0, 1) for t in generation)
            values = (sign * (t.value or 0.0) for t in generation)
            optimizer.tell(list(zip(points, values, strict=True)))


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _completion(trial: FrozenTrial) -> tuple[datetime, int]:
    return trial.datetime_complete or datetime.max, trial.number
