"""ASHA compared with no scheduler, on the same configurations.

    python -m benchmarks.scheduler            # ASHA over recorded curves, seconds
    python -m benchmarks.scheduler --train    # two searches, half an hour on two cores
    python -m benchmarks.scheduler --train --keep runs/scheduler   # keep their folders

Data and space are those of search_spaces/default.yaml, with the engine `statevector` and a random
sampler. Without --train, the curves of a search without a scheduler are read from
data/curves.json, and ASHA decides over them in simulated time (see simulation.py): once in the
order of that search, and in many random orders, since the decisions of ASHA depend on the order
in which configurations reach a rung. The reports of a training depend on configuration and seed
alone, so no training is needed.

With --train both searches run, through `tuning.search`. Trial k of both has the same configuration
and the same seed, unless a worker was lost and its trial was retried later. Trials of only one
search are left out. The largest difference between the values of both is printed.

`core s` is processor time (see curves.py). `chosen` is the best trial of the search, among those
that were not stopped.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ray.tune.search import Searcher

from benchmarks.curves import SPACE, Curve, Measured, curves_of, read_curves
from benchmarks.measuring import AsJson, Spread, show, table
from benchmarks.search import run_command
from benchmarks.simulation import Ended, Training, best_of_ours, simulate
from quantum_rerank.yaml_source import load_yaml
from tuning.algorithms.ray_scheduler import StopByRule
from tuning.algorithms.rules import NoRule, Rule, make_rule
from tuning.records import METADATA, TrialMetadata
from tuning.space import Space
from tuning.space.file import load_space
from tuning.study.view import StudyView

WORKERS = 2
SCHEDULERS: dict[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "asha": {"name": "asha", "grace_period": 4, "reduction_factor": 3},
}


class InOrder(Searcher):  # type: ignore[misc]  # Ray ships no types
    """A searcher that suggests the configurations of some curves in their order."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        super().__init__()
        self._left = iter(enumerate(curves))

    def suggest(self, trial_id: str) -> Any:
        number, curve = next(self._left)
        return {**curve.params, METADATA: TrialMetadata(number=number)}

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        """Do nothing: the order is fixed."""


def over_curves(rule: Rule, curves: Sequence[Curve]) -> list[Ended]:
    """Simulate a search over curves in their order."""
    trainings = {_text(curve.params): Training(curve.objective, curve.seconds) for curve in curves}
    return simulate(
        InOrder(curves),
        StopByRule(rule),
        lambda params: trainings[_text(params)],
        len(curves),
        WORKERS,
    )


def space_for(scheduler: str, trials: int, epochs: int, seed: int) -> dict[str, Any]:
    """Return the default space with a random sampler and without a confirmation."""
    values = dict(load_yaml(SPACE).values)
    return values | {
        "base": str((SPACE.parent / values["base"]).resolve()),
        "fixed": values["fixed"] | {"circuit.engine": "statevector"},
        "budget": {"trials": trials, "epochs": epochs, "trial_memory_gb": 3},
        "sampler": {"name": "random", "seed": seed},
        "scheduler": SCHEDULERS[scheduler],
        "start_from": [],
        "top_k": 1,
        "confirm_seeds": 0,
    }


def trained(
    folder: Path, trials: int, epochs: int, seed: int
) -> tuple[dict[str, list[Ended]], float]:
    """Run both searches. Return their ends and the largest difference between their values."""
    curves: dict[str, list[Curve]] = {}
    prices = Measured(load_space(SPACE, {}))
    for name in SCHEDULERS:
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(space_for(name, trials, epochs, seed)), encoding="utf-8")
        if not (folder / name / "summary.json").exists():
            run_command(["tuning.search", "--space", path, "--output", folder / name])
        curves[name] = curves_of(folder / name, prices, ("COMPLETE", "PRUNED"))
    curves = trained_alike(curves)
    full = {curve.number: len(curve.objective) for curve in curves["none"]}
    ended = {
        name: [as_ended(curve, full[curve.number]) for curve in of_search]
        for name, of_search in curves.items()
    }
    return ended, values_apart(curves["none"], curves["asha"])


def as_ended(curve: Curve, epochs: int) -> Ended:
    """Return the end of a trial.

    Args:
        curve: The curve of the trial.
        epochs: The number of epochs of the same training without a scheduler.
    """
    n = len(curve.objective)
    value = curve.objective[-1]
    return Ended(
        number=curve.number,
        params=curve.params,
        epochs=n,
        objective=value,
        to_its_end=n == epochs,
        seconds=sum(curve.seconds),
        at=0.0,
    )


def trained_alike(curves: Mapping[str, Sequence[Curve]]) -> dict[str, list[Curve]]:
    """Return the trials that all searches have, with the same configuration and number."""
    keys = [{(curve.number, _text(curve.params)) for curve in search} for search in curves.values()]
    shared = set.intersection(*keys)
    return {
        name: [curve for curve in search if (curve.number, _text(curve.params)) in shared]
        for name, search in curves.items()
    }


def values_apart(full: Sequence[Curve], stopped: Sequence[Curve]) -> float:
    """Return the largest difference between the values of the same trials."""
    pairs = zip(full, stopped, strict=True)
    return max(
        abs(a - b)
        for first, second in pairs
        for a, b in zip(first.objective, second.objective, strict=False)
    )


def facts(ended: Sequence[Ended], none: Sequence[Ended]) -> dict[str, Any]:
    """Return the cost and the result of a search, compared with no scheduler.

    `best_epochs` is the number of epochs for the best configuration of the search without a
    scheduler.
    """
    best, chosen = best_of_ours(none), best_of_ours(ended)
    seconds, epochs = sum(end.seconds for end in ended), sum(end.epochs for end in ended)
    return {
        "core_seconds": seconds,
        "time_saved": 1.0 - seconds / sum(end.seconds for end in none),
        "epochs": epochs,
        "epochs_saved": 1.0 - epochs / sum(end.epochs for end in none),
        "to_their_end": sum(end.to_its_end for end in ended),
        "chosen": chosen.number,
        "objective": chosen.objective,
        "difference": chosen.objective - best.objective,
        "best_epochs": next(end.epochs for end in ended if end.params == best.params),
        "kept_best": chosen.params == best.params,
    }


def over_orders(space: Space, curves: Sequence[Curve], orders: int) -> list[dict[str, Any]]:
    """Return the results of ASHA over the same curves in random orders."""
    none = over_curves(NoRule(), curves)
    rng = np.random.default_rng(0)
    shuffled = ([curves[k] for k in rng.permutation(len(curves))] for _ in range(orders))
    return [
        facts(over_curves(make_rule(space, lambda: StudyView([])), order), none)
        for order in shuffled
    ]


def main(
    train: Annotated[bool, typer.Option(help="Run both searches.")] = False,
    trials: Annotated[int, typer.Option(help="Number of configurations.")] = 60,
    epochs: Annotated[int, typer.Option(help="Largest number of epochs of a trial.")] = 30,
    seed: Annotated[int, typer.Option(help="Seed of the configurations.")] = 7,
    orders: Annotated[int, typer.Option(help="Number of random orders.")] = 200,
    keep: Annotated[
        Path | None, typer.Option(help="Folder of both searches. Finished ones are read.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the savings and the losses of ASHA."""
    in_orders: list[dict[str, Any]] = []
    if train:
        with tempfile.TemporaryDirectory() as temporary:
            folder = keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            ended, apart = trained(folder, trials, epochs, seed)
        how = f"trained, values apart by at most {apart:.6f}"
    else:
        curves = [curve for curve in read_curves() if curve.seed == seed][:trials]
        space = load_space(SPACE, {"epochs": epochs})
        rules = {"none": NoRule(), "asha": make_rule(space, lambda: StudyView([]))}
        ended = {name: over_curves(rule, curves) for name, rule in rules.items()}
        how = "over recorded curves"
        in_orders = over_orders(space, curves, orders)
    by_name = {name: facts(ends, ended["none"]) for name, ends in ended.items()}
    columns = (
        "scheduler", "core s", "saved", "epochs", "saved", "to their end", "chosen", "objective",
        "difference", "epochs of the best",
    )  # fmt: skip
    title = f"{len(ended['none'])} configurations of up to {epochs} epochs, {how}"
    tables = [table(title, columns, [row(name, search) for name, search in by_name.items()])]
    if in_orders:
        tables.append(orders_table(in_orders))
    show({**by_name, "orders": in_orders}, tables, as_json)


def row(name: str, search: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the row of a search."""
    return (
        name,
        f"{search['core_seconds']:.0f}",
        f"{search['time_saved']:.0%}",
        str(search["epochs"]),
        f"{search['epochs_saved']:.0%}",
        str(search["to_their_end"]),
        f"trial {search['chosen']}",
        f"{search['objective']:.4f}",
        f"{search['difference']:+.4f}",
        str(search["best_epochs"]),
    )


def orders_table(searches: Sequence[Mapping[str, Any]]) -> Any:
    """Return the spread of ASHA's results over random orders of the same curves."""
    rows = []
    for name, key, digits in (
        ("core s saved", "time_saved", 3),
        ("epochs saved", "epochs_saved", 3),
        ("objective, ASHA minus none", "difference", 4),
    ):
        values = [float(search[key]) for search in searches]
        median, half = Spread.of(values).cells(digits)
        rows.append((name, median, half, f"{statistics.fmean(values):.{digits}f}"))
    share = statistics.fmean(float(search["kept_best"]) for search in searches)
    rows.append(("the best is kept and chosen", "", "", f"{share:.0%} of orders"))
    columns = ("ASHA", "median", "middle half", "mean")
    return table(f"the same configurations in {len(searches)} random orders", columns, rows)


def _text(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


if __name__ == "__main__":
    typer.run(main)
