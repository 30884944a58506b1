"""Who proposes the next trial, by the name that a space gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler
from optuna.trial import FrozenTrial

from quantum_rerank.errors import MissingPackage
from tuning.space import Params, Space
from tuning.study.history import exclude_warm_start
from tuning.study.lineage import given


def make_sampler(space: Space, turn: int) -> BaseSampler:
    """The sampler of a space, seeded by the space's seed and the turn it has.

    With a seed of its own for each trial, what a trial is given follows from the seed and
    the study alone, also where a search was continued. TPE takes a stopped trial into
    account at the epoch it came to, below every trial that came further; the Gaussian process
    and CMA-ES not at all.
    """
    with warnings.catch_warnings():
        # Optuna's version is pinned: what it calls experimental is what was tested.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _made(space, turn)


def _made(space: Space, turn: int) -> BaseSampler:
    sampler = space.header.sampler
    seed = int(np.random.SeedSequence([sampler.seed, turn]).generate_state(1)[0])
    startup = sampler.startup_trials
    if sampler.name == "random":
        return RandomSampler(seed=seed)
    if sampler.name == "gp":
        return GPSampler(seed=seed, n_startup_trials=startup)
    if sampler.name == "cmaes":
        return _cmaes(seed, startup)
    if sampler.name == "qmc":
        # One sequence over all trials, so one seed; its place in it is kept in the study. What a
        # condition leaves out of it is drawn.
        return QMCSampler(
            seed=sampler.seed,
            scramble=True,
            independent_sampler=RandomSampler(seed=seed),
            warn_independent_sampling=False,
        )
    if sampler.name == "grid":
        return EveryPoint(space.points(), sampler.seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)


def points_left(sampler: BaseSampler, study: optuna.Study) -> bool:
    """Whether a sampler has anything more to propose: only a grid comes to its end."""
    return not (isinstance(sampler, EveryPoint) and sampler.is_exhausted(study))


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


def _cmaes(seed: int, startup: int) -> BaseSampler:
    try:
        import cmaes  # noqa: F401
    except ImportError:
        raise MissingPackage("cmaes", "tune", "The sampler `cmaes`") from None
    from tuning.algorithms.evolution import CmaEs

    return CmaEs(seed, startup)
