"""ASHA against no scheduler, on the same configurations.

    python -m benchmarks.scheduler            # ASHA over recorded curves, seconds
    python -m benchmarks.scheduler --train    # two searches, half an hour on two cores
    python -m benchmarks.scheduler --train --keep runs/scheduler   # which stay there

Data and space are those of search_spaces/default.yaml, on the engine `statevector`; the sampler is
random. Without --train, the curves of a search without a scheduler are read from data/curves.json,
and ASHA decides over them in simulated time (see simulation.py): once in the order of that search,
and in many random orders, since which configuration comes to a rung first is chance, and with it
what ASHA stops. That is enough: what a training reports follows from configuration and seed alone.

With --train both searches run, through `tuning.search`. Trial k of both is the same configuration
with the same seed, unless a worker was lost and its trial, tried again, took a later one's turn:
what only one of them trained is left out. How far apart the values of both lie is printed.

`core s` is processor time (see curves.py). `chosen` is the trial that the search calls its best: of
those that were trained to their end.
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
    """Proposes the configurations of some curves, one after the other."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        super().__init__()
        self._left = iter(enumerate(curves))

    def suggest(self, trial_id: str) -> Any:
        place, curve = next(self._left)
        return {**curve.params, METADATA: TrialMetadata(number=place)}

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        """Nothing: the order is given."""


def over_curves(rule: Rule, curves: Sequence[Curve]) -> list[Ended]:
    """A search over curves instead of trainings, proposed in the order given."""
    known = {_text(curve.params): Training(curve.objective, curve.seconds) for curve in curves}
    return simulate(
        InOrder(curves),
        StopByRule(rule),
        lambda params: known[_text(params)],
        len(curves),
        WORKERS,
    )


def space_for(scheduler: str, trials: int, epochs: int, seed: int) -> dict[str, Any]:
    """The default study with a random sampler, and little after its last trial."""
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
    """Run both searches; what each did, and how far apart their trials' values lie at most."""
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
        name: [as_ended(curve, full[curve.number]) for curve in own] for name, own in curves.items()
    }
    return ended, values_apart(curves["none"], curves["asha"])


def as_ended(curve: Curve, epochs: int) -> Ended:
    """A trial's end, as it was told to a study; epochs: of the same training if nobody stops it."""
    n = len(curve.objective)
    value = curve.objective[-1]
    return Ended(curve.number, curve.params, n, value, n == epochs, sum(curve.seconds), 0.0)


def trained_alike(curves: Mapping[str, Sequence[Curve]]) -> dict[str, list[Curve]]:
    """Of each search, the trials whose configuration and number all of them have."""
    keys = [{(curve.number, _text(curve.params)) for curve in own} for own in curves.values()]
    shared = set.intersection(*keys)
    return {
        name: [curve for curve in own if (curve.number, _text(curve.params)) in shared]
        for name, own in curves.items()
    }


def values_apart(full: Sequence[Curve], stopped: Sequence[Curve]) -> float:
    """How far the values of the same trials lie apart, at most, where both have one."""
    pairs = zip(full, stopped, strict=True)
    return max(
        abs(a - b)
        for one, other in pairs
        for a, b in zip(one.objective, other.objective, strict=False)
    )


def facts(ended: Sequence[Ended], none: Sequence[Ended]) -> dict[str, Any]:
    """What a search cost and found, beside the one without a scheduler.

    best_given: epochs that it gave to the configuration that the other found to be best.
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
        "best_given": next(end.epochs for end in ended if end.params == best.params),
        "kept_best": chosen.params == best.params,
    }


def over_orders(space: Space, curves: Sequence[Curve], orders: int) -> list[dict[str, Any]]:
    """ASHA over the same curves in random orders."""
    none = over_curves(NoRule(), curves)
    rng = np.random.default_rng(0)
    shuffled = ([curves[k] for k in rng.permutation(len(curves))] for _ in range(orders))
    return [
        facts(over_curves(make_rule(space, lambda: StudyView([])), order), none)
        for order in shuffled
    ]


def main(
    train: Annotated[bool, typer.Option(help="Run both searches.")] = False,
    trials: Annotated[int, typer.Option(help="Configurations.")] = 60,
    epochs: Annotated[int, typer.Option(help="Of each, at most.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the configurations.")] = 7,
    orders: Annotated[int, typer.Option(help="Random ones of the recorded curves.")] = 200,
    keep: Annotated[
        Path | None, typer.Option(help="Folder of both searches; those that it has are read.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what ASHA saves, and what it loses."""
    if train:
        with tempfile.TemporaryDirectory() as temporary:
            folder = keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            ended, apart = trained(folder, trials, epochs, seed)
        how = f"trained, values apart by at most {apart:.6f}"
        found: list[dict[str, Any]] = []
    else:
        curves = [curve for curve in read_curves() if curve.seed == seed][:trials]
        space = load_space(SPACE, {"epochs": epochs})
        rules = {"none": NoRule(), "asha": make_rule(space, lambda: StudyView([]))}
        ended = {name: over_curves(rule, curves) for name, rule in rules.items()}
        how = "over recorded curves"
        found = over_orders(space, curves, orders)
    known = {name: facts(ends, ended["none"]) for name, ends in ended.items()}
    columns = (
        "scheduler", "core s", "saved", "epochs", "saved", "to their end", "chosen", "objective",
        "difference", "epochs of the best",
    )  # fmt: skip
    title = f"{len(ended['none'])} configurations of up to {epochs} epochs, {how}"
    tables = [table(title, columns, [row(name, one) for name, one in known.items()])]
    if found:
        tables.append(orders_table(found))
    show({**known, "orders": found}, tables, as_json)


def row(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table: one search."""
    return (
        name,
        f"{one['core_seconds']:.0f}",
        f"{one['time_saved']:.0%}",
        str(one["epochs"]),
        f"{one['epochs_saved']:.0%}",
        str(one["to_their_end"]),
        f"trial {one['chosen']}",
        f"{one['objective']:.4f}",
        f"{one['difference']:+.4f}",
        str(one["best_given"]),
    )


def orders_table(found: Sequence[Mapping[str, Any]]) -> Any:
    """What ASHA does to the same curves in other orders."""
    rows = []
    for name, key, digits in (
        ("core s saved", "time_saved", 3),
        ("epochs saved", "epochs_saved", 3),
        ("objective, ASHA minus none", "difference", 4),
    ):
        values = [float(one[key]) for one in found]
        median, half = Spread.of(values).cells(digits)
        rows.append((name, median, half, f"{statistics.fmean(values):.{digits}f}"))
    kept = statistics.fmean(float(one["kept_best"]) for one in found)
    rows.append(("the best is kept and chosen", "", "", f"{kept:.0%} of orders"))
    columns = ("ASHA", "median", "middle half", "mean")
    return table(f"the same configurations in {len(found)} random orders", columns, rows)


def _text(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


if __name__ == "__main__":
    typer.run(main)
