"""Grid sampler for spaces with conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from tuning.space import Params
from tuning.study.trials import parameters
from tuning.study.view import StudyView


class GridSampler(BaseSampler):
    """Sampler that tries each point of a grid once.

    The parameters in the study say which points are tried or running, also where a driver was
    killed before a trial had all of its values. Optuna's own grid counts points that differ only
    in parameters which a condition excludes, proposes running points again at its end, and has no
    value for a trial that was queued with some of its parameters.

    Args:
        points: Points of the grid.
        seed: Seed of their order.
    """

    def __init__(self, points: Sequence[Params], seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(points))
        self._points = [points[index] for index in order]

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Return whether every point is tried or running."""
        return next(self._untried(study), None) is None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return no parameters: each is sampled by itself."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return no values, see `infer_relative_search_space`."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value of the first untried point that agrees with the trial so far."""
        values = parameters(trial).items()
        points = chain(self._untried(study), self._points)
        return next(point[param_name] for point in points if values <= point.items())

    def _untried(self, study: optuna.Study) -> Iterator[Params]:
        # Points of earlier runs are tried here too: no search can export another's trial.
        tried = {frozenset(parameters(t).items()) for t in StudyView.of(study).searched()}
        return (point for point in self._points if frozenset(point.items()) not in tried)
