"""A grid sampler."""

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
from tuning.study.history import exclude_warm_start
from tuning.study.lineage import given


class EveryPoint(BaseSampler):
    """A grid: each of its points once, in an order drawn by the seed.

    The study's parameters say which are tried or at work, also where a driver was killed
    before a trial had all of its values. Optuna's own counts points that differ only in what
    a condition excludes, gives out at its end once more what still runs, and has no value for
    a trial that was queued with some of its parameters.
    """

    def __init__(self, points: Sequence[Params], seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(points))
        self._points = [points[place] for place in order]

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Whether every point is tried, or at work."""
        return next(self._untried(study), None) is None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: parameters are asked for one by one."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, as above."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The value that the first untried point has beside what the trial was given so far."""
        known = given(trial).items()
        points = chain(self._untried(study), self._points)
        return next(point[param_name] for point in points if known <= point.items())

    def _untried(self, study: optuna.Study) -> Iterator[Params]:
        # What came in from an earlier run is tried here too: no search can export it.
        tried = {
            frozenset(given(t).items())
            for t in exclude_warm_start(study.get_trials(deepcopy=False))
        }
        return (point for point in self._points if frozenset(point.items()) not in tried)
