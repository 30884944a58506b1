"""ASHA against no scheduler: the same configurations, trained through the same search.

    python -m tests.benchmarks.scheduler                       # some forty minutes on two cores
    python -m tests.benchmarks.scheduler --keep runs/scheduler # leave both searches there
    python -m tests.benchmarks.scheduler --read runs/scheduler # print what they were, without them

Data and space are those of search_spaces/default.yaml, on the engine `statevector`. The sampler is
random, so that trial k of both searches is the same configuration with the same seed, which is
verified, as is that both trained it alike as far as the shorter went.

`core s` is what the trials took, as they were measured, on cores that others may use too;
`at one price` takes each epoch at what it took without a scheduler. `chosen` is the trial that the
search itself calls its best: of those that were trained to their end.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from quantum_rerank.yaml_source import load_yaml
from tests.benchmarks.curves import Curve, curves_of
from tests.benchmarks.measuring import AsJson, show, table
from tests.benchmarks.search import run_command
from tuning.best_trial import load_study, ranked_trials

ROOT = Path(__file__).parents[2]
SPACE = ROOT / "search_spaces" / "default.yaml"
SCHEDULERS: dict[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "asha": {"name": "asha", "grace_epochs": 3, "reduction_factor": 3},
}


@dataclass(frozen=True)
class Ran:
    """What one search did.

    core_seconds: of all trials; priced: the same epochs at the other search's seconds.
    chosen: number of the trial that the search calls its best; objective: its validation.
    """

    wall_seconds: float
    core_seconds: float
    priced: float
    epochs: int
    to_their_end: int
    chosen: int
    objective: float


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


def run_both(folder: Path, trials: int, epochs: int, seed: int) -> None:
    """Run both searches, one after the other, each into its own folder."""
    for name in SCHEDULERS:
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(space_for(name, trials, epochs, seed)), encoding="utf-8")
        run_command(["tuning.search", "--space", path, "--output", folder / name])


def same_trials(full: Sequence[Curve], stopped: Sequence[Curve]) -> float:
    """How far the values of two searches' trials lie apart, at most, where both have one.

    Raises: SystemExit if they did not train the same configurations.
    """
    apart = 0.0
    for one, other in zip(full, stopped, strict=True):
        if (one.number, one.params) != (other.number, other.params):
            raise SystemExit(f"Trial {one.number} is not the same configuration in both searches.")
        pairs = zip(one.objective, other.objective, strict=False)
        apart = max(apart, *(abs(a - b) for a, b in pairs))
    return apart


def what_ran(folder: Path, curves: Sequence[Curve], full: Sequence[Curve]) -> Ran:
    """What a search did, beside the full curves of its configurations."""
    trials = load_study(folder).get_trials(deepcopy=False)
    starts = [t.datetime_start.timestamp() for t in trials if t.datetime_start]
    ends = [t.datetime_complete.timestamp() for t in trials if t.datetime_complete]
    best = ranked_trials(trials)[0]
    return Ran(
        wall_seconds=max(ends) - min(starts),
        core_seconds=sum(sum(curve.seconds) for curve in curves),
        priced=sum(
            sum(whole.seconds[: len(own.seconds)]) for own, whole in zip(curves, full, strict=True)
        ),
        epochs=sum(len(curve.objective) for curve in curves),
        to_their_end=sum(trial.state.name == "COMPLETE" for trial in trials),
        chosen=best.number,
        objective=max(best.intermediate_values.values()),
    )


def fate(number: int, curves: Sequence[Curve], full: Sequence[Curve]) -> str:
    """Whether a search trained a trial as far as it would have gone."""
    epochs = len(curves[number].objective)
    return "kept" if epochs == len(full[number].objective) else f"stopped after epoch {epochs}"


def main(
    trials: Annotated[int, typer.Option(help="Configurations.")] = 40,
    epochs: Annotated[int, typer.Option(help="Of each, at most.")] = 27,
    seed: Annotated[int, typer.Option(help="Of the configurations.")] = 7,
    keep: Annotated[Path | None, typer.Option(help="New folder for both searches.")] = None,
    read: Annotated[Path | None, typer.Option(help="Folder of both, kept before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what ASHA saves, and what it loses."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = read or keep or Path(temporary)
        if read is None:
            folder.mkdir(parents=True, exist_ok=True)
            run_both(folder, trials, epochs, seed)
        curves = {name: curves_of(folder / name, ("COMPLETE", "PRUNED")) for name in SCHEDULERS}
        full = curves["none"]
        apart = same_trials(full, curves["asha"])
        ran = {name: what_ran(folder / name, curves[name], full) for name in SCHEDULERS}
    none, asha = ran["none"], ran["asha"]
    best = fate(none.chosen, curves["asha"], full)
    rows = [row(name, one, none) for name, one in ran.items()]
    columns = (
        "scheduler", "wall s", "core s", "saved", "at one price", "epochs", "saved", "to their end",
        "chosen", "objective",
    )  # fmt: skip
    loss = asha.objective - none.objective
    title = (
        f"the same {len(full)} configurations; the best, trial {none.chosen}, ASHA {best}; "
        f"objective of ASHA's choice {loss:+.4f}; values apart at most {apart:.5f}"
    )
    record = {name: asdict(one) for name, one in ran.items()}
    facts = {"best": none.chosen, "asha": best, "objective_difference": loss, "apart": apart}
    show(record | facts, [table(title, columns, rows)], as_json)


def row(name: str, ran: Ran, none: Ran) -> tuple[str, ...]:
    """A row of the table; what is saved is so of `none`."""
    return (
        name,
        f"{ran.wall_seconds:.0f}",
        f"{ran.core_seconds:.0f}",
        f"{1 - ran.core_seconds / none.core_seconds:.0%}",
        f"{1 - ran.priced / none.priced:.0%}",
        str(ran.epochs),
        f"{1 - ran.epochs / none.epochs:.0%}",
        str(ran.to_their_end),
        f"trial {ran.chosen}",
        f"{ran.objective:.4f}",
    )


if __name__ == "__main__":
    typer.run(main)
