"""Comparison of simulated searches with Ray Tune: the same trials, stopped at the same epochs.

    python -m benchmarks.real_ray --trials 20

The searchers are those of benchmarks/searcher.py: ours through `session.search`, plain through
`tune.Tuner`. The trials sleep for a fraction of the simulated seconds and report the curves of the
surrogate. With one worker the order of all events is fixed, and every trial must be the same. With
more workers, two reports at the same time can arrive in either order, and the trials after them
can differ.
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

Seen = tuple[Params, int]  # a trial: its parameters and its number of epochs


def stand_in(surrogate: Surrogate, seed: int, scale: float) -> Callable[..., None]:
    """Return a trainable of Ray Tune that sleeps instead of training."""

    def trial(params: dict[str, Any], **_: Any) -> None:
        from ray import tune

        suggested = parameters_of(params)
        training = surrogate.training(suggested, seed)
        for epoch, seconds in enumerate(training.seconds, 1):
            time.sleep(scale * seconds)
            value = training.objective[epoch - 1]
            final = epoch == len(training.seconds)
            report = {EPOCH: epoch, OBJECTIVE: value, FINAL: final, SECONDS: 0.0, CHECKPOINT: 0}
            tune.report(report)

    return trial


def real_ours(space: Space, trials: int, trial: Callable[..., None], seed: int) -> list[Seen]:
    """Run our search with a trainable that sleeps."""
    header = space.header
    sampler = header.sampler.model_copy(update={"seed": seed, "startup_trials": STARTUP})
    limits = {"trials": trials, "trial_memory_gb": 1.0, "early_end": False}
    budget = header.budget.model_copy(update=limits)
    changed = header.model_copy(update={"sampler": sampler, "budget": budget, "start_from": []})
    with tempfile.TemporaryDirectory() as name:
        quiet = Console(file=io.StringIO())
        options = SearchOptions(train=trial)
        search(replace(space, header=changed), Path(name), quiet, options)
        finished = load_study(Path(name)).get_trials(deepcopy=False)
        return [(frozen.params, max(frozen.intermediate_values)) for frozen in finished]


def real_plain(space: Space, trials: int, trial: Callable[..., None], seed: int) -> list[Seen]:
    """Run Ray Tune as in its documentation."""
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
    return [(result.config, int(result.metrics["training_iteration"])) for result in results]


def main(
    trials: int = 20,
    workers: int = 1,
    scale: Annotated[
        float, typer.Option(help="Seconds to sleep for each simulated second.")
    ] = 0.02,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Print the number of trials that are the same from the first on."""
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
        ended = run_way(way, space, surrogate, seed=seed, n_trials=trials, workers=workers)
        foreseen = [(end.params, end.epochs) for end in sorted(ended, key=lambda end: end.number)]
        alike = same_from_the_first(seen, foreseen)
        epochs = [sum(epochs for _, epochs in side) for side in (seen, foreseen)]
        rows.append((way, str(len(seen)), str(alike), *map(str, epochs)))
        record[way] = {"trials": len(seen), "alike": alike, "epochs": epochs}
    columns = ("searcher", "trials", "the same from the first", "epochs, Ray Tune", "simulated")
    show(record, [table(f"real and simulated searches, {workers} at once", columns, rows)], as_json)


def same_from_the_first(seen: Sequence[Seen], foreseen: Sequence[Seen]) -> int:
    """Return the number of equal trials before the first difference."""
    pairs = zip(seen, foreseen, strict=True)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


if __name__ == "__main__":
    typer.run(main)
