"""The simulation of a search beside Ray Tune itself: the same trials, stopped at the same epochs?

    python -m benchmarks.real_ray --trials 20

Both of benchmarks/searcher.py: ours through `session.search`, plain through `tune.Tuner`. The
trials sleep for a fraction of the simulated seconds and report the surrogate's curves. With one
worker the order of all events is given, and every trial has to be the same; more workers race
where two reports fall together, and from there on other trials are proposed.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer
from rich.console import Console

from benchmarks.curves import SPACE, read_curves
from benchmarks.measuring import AsJson, show, table
from benchmarks.searcher import STARTUP, plain, run_way
from benchmarks.surrogate import Surrogate
from tuning.records import CHECKPOINT, EPOCH, FINAL, OBJECTIVE, SECONDS, parameters_of
from tuning.session.search import search
from tuning.session.search_state import SearchOptions
from tuning.space import Params, Space
from tuning.space.file import load_space
from tuning.study.run_folder import load_study
from tuning.workers.cluster import ray_cluster

Seen = tuple[Params, int]  # a trial: what was proposed, and how many epochs it was given


def stand_in(surrogate: Surrogate, seed: int, scale: float) -> Callable[..., None]:
    """A function of Ray Tune that takes its time instead of training."""

    def trial(params: dict[str, Any], **_: Any) -> None:
        from ray import tune

        suggested = parameters_of(params)
        training = surrogate.training(suggested, seed)
        for epoch, seconds in enumerate(training.seconds, 1):
            time.sleep(scale * seconds)
            value = training.objective[epoch - 1]
            final = epoch == len(training.seconds)
            told = {EPOCH: epoch, OBJECTIVE: value, FINAL: final, SECONDS: 0.0, CHECKPOINT: 0}
            tune.report(told)

    return trial


def real_ours(space: Space, trials: int, trial: Callable[..., None], seed: int) -> list[Seen]:
    """Our search, its trainings stood in for."""
    header = space.header
    sampler = header.sampler.model_copy(update={"seed": seed, "startup_trials": STARTUP})
    limits = {"trials": trials, "trial_memory_gb": 1.0}
    budget = header.budget.model_copy(update=limits)
    changed = header.model_copy(update={"sampler": sampler, "budget": budget, "start_from": []})
    with tempfile.TemporaryDirectory() as name:
        quiet = Console(file=io.StringIO())
        options = SearchOptions(train=trial)
        search(replace(space, header=changed), Path(name), quiet, options)
        told = load_study(Path(name)).get_trials(deepcopy=False)
        return [(one.params, max(one.intermediate_values)) for one in told]


def real_plain(space: Space, trials: int, trial: Callable[..., None], seed: int) -> list[Seen]:
    """Ray Tune as one writes it from the documentation."""
    from ray import tune

    searcher, scheduler = plain(space, seed)
    with ray_cluster(None), tempfile.TemporaryDirectory() as name:
        results = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=scheduler, num_samples=trials
            ),
            run_config=tune.RunConfig(storage_path=name, verbose=0),
        ).fit()
    return [(one.config, int(one.metrics["training_iteration"])) for one in results]


def main(
    trials: int = 20,
    workers: int = 1,
    scale: Annotated[float, typer.Option(help="Of the simulated seconds, slept.")] = 0.02,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Print how many trials, from the first on, are the same in both."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:workers])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = load_space(SPACE, {})
    surrogate = Surrogate(space, read_curves())
    trial = stand_in(surrogate, seed, scale)
    real = {
        "ours": real_ours(space, trials, trial, seed),
        "plain": real_plain(space, trials, trial, seed),
    }
    rows, record = [], {}
    for way, seen in real.items():
        ended = run_way(way, space, surrogate, seed, trials, workers)
        foreseen = [(end.params, end.epochs) for end in sorted(ended, key=lambda end: end.number)]
        alike = same_from_the_first(seen, foreseen)
        epochs = [sum(epochs for _, epochs in side) for side in (seen, foreseen)]
        rows.append((way, str(len(seen)), str(alike), *map(str, epochs)))
        record[way] = {"trials": len(seen), "alike": alike, "epochs": epochs}
    columns = ("searcher", "trials", "the same from the first", "epochs, Ray Tune", "simulated")
    show(record, [table(f"real and simulated searches, {workers} at once", columns, rows)], as_json)


def same_from_the_first(seen: Sequence[Seen], foreseen: Sequence[Seen]) -> int:
    """How many trials agree before the first that does not."""
    pairs = zip(seen, foreseen, strict=True)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


if __name__ == "__main__":
    typer.run(main)
