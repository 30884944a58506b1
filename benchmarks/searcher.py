"""Our searcher compared with Ray's plain OptunaSearch, over simulated trainings.

    python -m benchmarks.searcher
    python -m benchmarks.searcher --seeds 100 --first-seed 1000
    python -m benchmarks.real_ray       # the simulation beside Ray Tune itself

`ours`: OptunaSearcher with TPE, and ASHA by StopByRule, as in a search. `plain`: OptunaSearch and
ASHAScheduler as in their documentation, with the space as a function since it has conditions. Ray
then suggests one trial ahead of a free worker. `random`: ours, with the random sampler. All have
the space of search_spaces/default.yaml, the same ten startup trials (Optuna's default), the same
rungs and two workers, in simulated time (see simulation.py).

A training is a curve of the surrogate (see surrogate.py), which is fitted to real trainings. The
value of a search is the noise-free last value of its best trial after n trials: for ours the best
trial that was not stopped, for plain the trial with the highest last report, as in
`ResultGrid.get_best_result`. `regret` is the difference to the best configuration found.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import optuna
import typer

from benchmarks.curves import SPACE, read_curves
from benchmarks.measuring import AsJson, show, table
from benchmarks.simulation import Ended, best_of_ours, simulate
from benchmarks.surrogate import Surrogate, measured_noise
from quantum_rerank.evaluation import Comparison, compare
from tuning.algorithms.ray_scheduler import StopByRule
from tuning.algorithms.ray_searcher import OptunaSearcher, TrialPolicy
from tuning.algorithms.rules import make_rule
from tuning.records import OBJECTIVE, Listener, parameters_of
from tuning.space import Params, Space
from tuning.space.file import load_space
from tuning.study.view import StudyView

AT = (10, 20, 40, 80)
WORKERS, STARTUP = 2, 10
WAYS = ("ours", "plain", "random")
_TRIED = 4_000  # random configurations, to find the best one

Pair = tuple[Any, Any]  # a searcher and a scheduler of Ray's, which ships no types


def ours(space: Space, seed: int, n_trials: int, sampler: str = "tpe") -> Pair:
    """Return searcher and scheduler as in `session.run_trials`."""
    changes = {"name": sampler, "seed": seed, "startup_trials": STARTUP}
    config = space.header.sampler.model_copy(update=changes)
    space = replace(space, header=space.header.model_copy(update={"sampler": config}))
    study = optuna.create_study(direction="maximize")
    searcher = OptunaSearcher(space, study, n_trials, Listener(), lambda: None, TrialPolicy())
    return searcher, StopByRule(make_rule(space, lambda: StudyView([])))


def plain(space: Space, seed: int, points: Sequence[Params] | None = None) -> Pair:
    """Return OptunaSearch and ASHA as in Ray's documentation.

    Args:
        space: The space.
        seed: The seed of the searcher.
        points: The first suggestions; None for those of our searcher.
    """
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    scheduler, budget = space.header.scheduler, space.header.budget
    searcher = OptunaSearch(
        space=space.suggest,
        metric=OBJECTIVE,
        mode="max",
        points_to_evaluate=list(points or startup_points(space, seed)),
        seed=seed,
    )
    asha = ASHAScheduler(
        metric=OBJECTIVE,
        mode="max",
        max_t=budget.epochs,
        grace_period=scheduler.grace_period,
        reduction_factor=scheduler.reduction_factor,
    )
    return searcher, asha


def startup_points(space: Space, seed: int) -> list[Params]:
    """Return the first suggestions of our searcher."""
    searcher, _ = ours(space, seed, STARTUP)
    suggested = [searcher.suggest(str(number)) for number in range(STARTUP)]
    return [parameters_of(config) for config in suggested]


def best_of_plain(ended: Sequence[Ended]) -> Ended:
    """Return the trial with the highest last report, as `ResultGrid.get_best_result`."""
    return max(ended, key=lambda end: (end.objective, -end.number))


def run_way(
    way: str, space: Space, surrogate: Surrogate, seed: int, n_trials: int, workers: int = WORKERS
) -> list[Ended]:
    """Simulate a search."""
    if way == "plain":
        pair, ahead = plain(space, seed), 1
    else:
        pair, ahead = ours(space, seed, n_trials, "tpe" if way == "ours" else way), 0
    return simulate(
        *pair, lambda params: surrogate.training(params, seed), n_trials, workers, ahead
    )


def chosen_values(way: str, ended: Sequence[Ended], surrogate: Surrogate) -> dict[int, float]:
    """Return number of trials -> the noise-free last value of the best trial."""
    best = best_of_plain if way == "plain" else best_of_ours
    points = [n for n in AT if n <= len(ended)]
    return {n: float(surrogate.mean(best(ended[:n]).params)[-1]) for n in points}


def best_known(space: Space, surrogate: Surrogate, seen: Sequence[Params]) -> float:
    """Return the highest noise-free value of random and of suggested configurations."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    drawn = [space.suggest(study.ask()) for _ in range(_TRIED)]
    return float(surrogate.means([*drawn, *seen]).max())


def main(
    seeds: Annotated[int, typer.Option(help="Number of searches of each kind.")] = 20,
    first_seed: Annotated[int, typer.Option(help="Seed of the first search.")] = 0,
    workers: int = WORKERS,
    as_json: AsJson = False,
) -> None:
    """Print the value and the regret of each searcher, and ours minus the others."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = load_space(SPACE, {})
    curves = read_curves()
    surrogate = Surrogate(space, curves, measured_noise(curves))
    ended: dict[str, dict[int, list[Ended]]] = {way: {} for way in WAYS}
    for seed in range(first_seed, first_seed + seeds):
        for way in WAYS:
            ended[way][seed] = run_way(
                way, space, surrogate, seed=seed, n_trials=max(AT), workers=workers
            )
    values = {
        way: {seed: chosen_values(way, ends, surrogate) for seed, ends in by_seed.items()}
        for way, by_seed in ended.items()
    }
    seen = [end.params for by_seed in ended.values() for ends in by_seed.values() for end in ends]
    best = best_known(space, surrogate, seen)
    fit = surrogate.fit
    title = (
        f"{len(curves)} real curves, {fit.n_configurations} configurations: cross-validated R^2 "
        f"{fit.r2:.2f}, rank correlation {fit.rank_correlation:.2f}; noise {surrogate.noise:.4f}; "
        f"best known {best:.4f}"
    )
    values_table = table(
        f"{title}\nvalue of the chosen trial (and its regret), median of {seeds} searches",
        ("searcher", *(f"{n} trials" for n in AT), "epochs", "core s", "to their end"),
        [values_row(way, values[way], ended[way], best) for way in WAYS],
    )
    against = {way: differences(values["ours"], values[way]) for way in WAYS if way != "ours"}
    minus_table = table(
        "ours minus the other, mean over the same seeds",
        ("other", "trials", "difference", "95 % interval", "p", "better in"),
        [difference_row(way, n, pair) for way, by_n in against.items() for n, pair in by_n.items()],
    )
    record = {
        "fit": {"r2": fit.r2, "rank_correlation": fit.rank_correlation, "curves": len(curves)},
        "noise": surrogate.noise,
        "best_known": best,
        "values": values,
        "against": {
            way: {
                n: vars(comparison) | {"better_in": better}
                for n, (comparison, better) in by_n.items()
            }
            for way, by_n in against.items()
        },
    }
    show(record, [values_table, minus_table], as_json)


def values_row(
    way: str,
    values: Mapping[int, Mapping[int, float]],
    ended: Mapping[int, Sequence[Ended]],
    best: float,
) -> tuple[str, ...]:
    """Return the medians over seeds: the values after n trials, and the cost."""
    medians = [statistics.median(by_n[n] for by_n in values.values()) for n in AT]
    cells = [f"{median:.4f} ({best - median:.4f})" for median in medians]
    runs = list(ended.values())
    epochs = statistics.median(sum(end.epochs for end in ends) for ends in runs)
    seconds = statistics.median(sum(end.seconds for end in ends) for ends in runs)
    whole = statistics.median(sum(end.to_its_end for end in ends) for ends in runs)
    return way, *cells, f"{epochs:.0f}", f"{seconds:.0f}", f"{whole:.0f}"


def differences(
    ours: Mapping[int, Mapping[int, float]], other: Mapping[int, Mapping[int, float]]
) -> dict[int, tuple[Comparison, str]]:
    """Return number of trials -> ours minus the other, and the seeds in which ours is better."""
    by_n_trials = {}
    for n in AT:
        mine = {str(seed): by_n[n] for seed, by_n in ours.items()}
        theirs = {str(seed): by_n[n] for seed, by_n in other.items()}
        better = sum(mine[seed] > theirs[seed] for seed in mine)
        by_n_trials[n] = (compare(mine, theirs), f"{better} of {len(mine)}")
    return by_n_trials


def difference_row(way: str, n: int, pair: tuple[Comparison, str]) -> tuple[str, ...]:
    """Return the row of a difference."""
    comparison, better = pair
    interval = f"{comparison.low:+.4f} to {comparison.high:+.4f}"
    difference = f"{comparison.difference:+.4f}"
    return way, str(n), difference, interval, f"{comparison.p_value:.4f}", better


if __name__ == "__main__":
    typer.run(main)
