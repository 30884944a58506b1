"""Samplers: they propose the parameters of the next trial."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from quantum_rerank.errors import MissingPackage
from tuning.algorithms.grid import GridSampler
from tuning.space import SAMPLERS, Params, Space


def make_sampler(space: Space, turn: int) -> BaseSampler:
    """Return the sampler that a space names, for the proposal of one trial.

    With a seed of its own for each trial, a proposal follows from the seed and the study alone,
    also where a search was continued.

    Args:
        space: Space of the search.
        turn: Number of trials in the study; together with the space's seed it gives the seed.
    """
    seed = int(np.random.SeedSequence([space.header.sampler.seed, turn]).generate_state(1)[0])
    with warnings.catch_warnings():
        # Optuna's version is pinned: what it calls experimental is what was tested.
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler: BaseSampler = SAMPLERS[space.header.sampler.name](space, seed)
    return sampler


def has_points_left(sampler: BaseSampler, study: optuna.Study) -> bool:
    """Return whether a sampler can propose another trial; only a grid comes to its end."""
    return not (isinstance(sampler, GridSampler) and sampler.is_exhausted(study))


def tpe(space: Space, seed: int) -> BaseSampler:
    """Return a tree-structured Parzen estimator.

    It ranks a stopped trial by the epoch that it reached, below every trial that went further.
    """
    startup = space.header.sampler.startup_trials
    return TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)


def prior(space: Space, seed: int) -> BaseSampler:
    """Return a sampler that draws near known points, near the best trial, by TPE and at random."""
    from tuning.algorithms.prior import Point, PriorSampler

    guesses = space.header.prior
    points: list[Params | Point] = list(space.start_points())
    if guesses:
        points.append(
            Point(
                space.as_drawn({name: guess.center for name, guess in guesses.items()}),
                widths={name: guess.width for name, guess in guesses.items()},
                keeps={name: guess.keep for name, guess in guesses.items()},
            )
        )
    startup = space.header.sampler.startup_trials
    return PriorSampler(points, seed=seed, startup_trials=startup)


def gaussian_process(space: Space, seed: int) -> BaseSampler:
    """Return a sampler that fits a Gaussian process to the complete trials."""
    return GPSampler(seed=seed, n_startup_trials=space.header.sampler.startup_trials)


def cma_es(space: Space, seed: int) -> BaseSampler:
    """Return CMA-ES over the complete trials.

    Raises:
        MissingPackage: The package `cmaes` is not installed.
    """
    try:
        import cmaes  # noqa: F401
    except ImportError:
        raise MissingPackage("cmaes", "tune", "The sampler `cmaes`") from None
    from tuning.algorithms.evolution import CmaEs

    return CmaEs(seed, space.header.sampler.startup_trials)


def random(space: Space, seed: int) -> BaseSampler:
    """Return a sampler that draws every parameter at random."""
    return RandomSampler(seed=seed)


def grid(space: Space, seed: int) -> BaseSampler:
    """Return a sampler that tries every point of the space once."""
    return GridSampler(space.points(), space.header.sampler.seed)


def quasi_monte_carlo(space: Space, seed: int) -> BaseSampler:
    """Return a sampler that covers the space evenly.

    One sequence with one seed goes over all trials; the study holds the place in it. Parameters
    that a condition leaves out of it are drawn at random.
    """
    return QMCSampler(
        seed=space.header.sampler.seed,
        scramble=True,
        independent_sampler=RandomSampler(seed=seed),
        warn_independent_sampling=False,
    )
