"""Who proposes the next trial, by the name that a space gives."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler

from quantum_rerank.errors import MissingPackage
from tuning.algorithms.grid import EveryPoint
from tuning.space import Space


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


def _cmaes(seed: int, startup: int) -> BaseSampler:
    try:
        import cmaes  # noqa: F401
    except ImportError:
        raise MissingPackage("cmaes", "tune", "The sampler `cmaes`") from None
    from tuning.algorithms.evolution import CmaEs

    return CmaEs(seed, startup)
