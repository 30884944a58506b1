"""Our searcher against Ray's plain OptunaSearch, over trainings that are foreseen, not done.

    python -m tests.benchmarks.searcher
    python -m tests.benchmarks.searcher --seeds 100 --first-seed 1000
    python -m tests.benchmarks.searcher --against-ray 20   # the simulation beside real Ray Tune

`ours`: TruthfulSearch with TPE, ASHA by StopByRule, as a search has them. `plain`: OptunaSearch and
AsyncHyperBandScheduler as one writes them from the documentation, the space a function since it has
conditions; Ray then proposes one trial ahead of a free worker. `random`: ours, with the random sampler.
All have the space of search_spaces/default.yaml, ten startup trials, Optuna's default, the same rungs
and the same two workers, in simulated time (tests/benchmarks/simulation.py).

A training is a curve of the surrogate (tests/benchmarks/surrogate.py), fitted to real trainings.
What counts is the noise-free last value of the trial that a search calls its best after n trials have
ended: for ours the best of those trained to their end, for plain the highest last report, as
`ResultGrid.get_best_result` has it. `regret` is what is missing to the best configuration that is known.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import optuna
import typer
from rich.console import Console

from quantum_rerank.evaluation import Comparison, compare
from tests.benchmarks.curves import read_curves
from tests.benchmarks.measuring import AsJson, show, table
from tests.benchmarks.scheduler import SPACE
from tests.benchmarks.simulation import Ended, simulate
from tests.benchmarks.surrogate import Surrogate
from tuning.algorithms.samplers import make_sampler
from tuning.algorithms.scheduler import StopByRule, make_rule
from tuning.algorithms.searcher import TruthfulSearch
from tuning.records import OBJECTIVE, Listeners
from tuning.space import Params, Space
from tuning.space_file import load_space

AT = (10, 20, 40, 80)
WORKERS, STARTUP = 2, 10
_TRIED = 4_000  # random configurations among which the best that is known is looked for

Pair = tuple[Any, Any]  # a searcher and a scheduler of Ray's, which ships no types


def ours(space: Space, seed: int, n_trials: int, sampler: str = "tpe") -> Pair:
    """Searcher and scheduler as `session.run_trials` hands them to Ray."""
    changes = {"name": sampler, "seed": seed, "startup_trials": STARTUP}
    own = space.header.sampler.model_copy(update=changes)
    space = replace(space, header=space.header.model_copy(update={"sampler": own}))
    study = optuna.create_study(direction="maximize")
    searcher = TruthfulSearch(
        space, study, n_trials, Listeners([]), ending=lambda: "", death_note=lambda _: {}
    )
    return searcher, StopByRule(make_rule(space, {}))


def plain(space: Space, seed: int) -> Pair:
    """OptunaSearch and ASHA as Ray's documentation writes them."""
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    scheduler, budget = space.header.scheduler, space.header.budget
    searcher = OptunaSearch(space=space.suggest, metric=OBJECTIVE, mode="max", seed=seed)
    asha = ASHAScheduler(
        metric=OBJECTIVE,
        mode="max",
        max_t=budget.epochs,
        grace_period=scheduler.grace_epochs,
        reduction_factor=scheduler.reduction_factor,
    )
    return searcher, asha


def best_of_ours(ended: Sequence[Ended]) -> Ended:
    """As `best_trial.ranked_trials`: those that were trained to their end come first."""
    return max(ended, key=lambda end: (end.to_its_end, end.objective, -end.number))


def best_of_plain(ended: Sequence[Ended]) -> Ended:
    """As `ResultGrid.get_best_result`: the highest last report of any trial."""
    return max(ended, key=lambda end: (end.objective, -end.number))


def run_way(
    way: str, space: Space, surrogate: Surrogate, seed: int, n_trials: int, workers: int = WORKERS
) -> list[Ended]:
    """One search, simulated."""
    if way == "plain":
        pair, ahead = plain(space, seed), 1
    else:
        pair, ahead = ours(space, seed, n_trials, "tpe" if way == "ours" else way), 0
    return simulate(
        *pair, lambda params: surrogate.training(params, seed), n_trials, workers, ahead
    )


def chosen_values(way: str, ended: Sequence[Ended], surrogate: Surrogate) -> dict[int, float]:
    """After n ended trials: the noise-free last value of the trial that the search would give."""
    best = best_of_plain if way == "plain" else best_of_ours
    points = [n for n in AT if n <= len(ended)]
    return {n: float(surrogate.mean(best(ended[:n]).params)[-1]) for n in points}


def best_known(space: Space, surrogate: Surrogate, seen: Sequence[Params]) -> float:
    """The highest noise-free value among many random configurations and some others."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    drawn = [space.suggest(study.ask()) for _ in range(_TRIED)]
    return float(surrogate.means([*drawn, *seen]).max())
