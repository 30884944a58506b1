"""Learning curves of real trainings, read from the folders of searches and kept in a file.

    python -m tests.benchmarks.curves RUN --into tests/benchmarks/data/curves.json

Only trials that ended by themselves are taken: at their last epoch, or because nothing improved.
A trial that is in the file already, by its search's seed and its number, is replaced.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.benchmarks.measuring import machine
from tuning.best_trial import load_study
from tuning.records import EPOCH, OBJECTIVE, SECONDS
from tuning.study.run_folder import EVENTS, read_record

CURVES = Path(__file__).parent / "data" / "curves.json"


@dataclass(frozen=True)
class Curve:
    """One configuration's training.

    seed, number: of the search that suggested it, and of the trial in it.
    objective: the best validation so far after each epoch, as a trial reports it.
    seconds: of each epoch on one core; the first includes data and warm-up.
    """

    seed: int
    number: int
    params: dict[str, Any]
    objective: list[float]
    seconds: list[float]


def curves_of(folder: Path, states: Sequence[str] = ("COMPLETE",)) -> list[Curve]:
    """The curves of a search's trials that ended in one of some states, by number."""
    seed = read_record(folder)["space"]["sampler"]["seed"]
    reports: defaultdict[int, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for line in (folder / EVENTS).read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "reported":
            reports[event["trial"]][event[EPOCH]] = event
    curves = []
    for trial in load_study(folder).get_trials(deepcopy=False):
        if trial.state.name not in states:
            continue
        told = [reports[trial.number][epoch] for epoch in sorted(reports[trial.number])]
        at = [0.0, *(report[SECONDS] for report in told)]
        seconds = [round(later - sooner, 2) for sooner, later in pairwise(at)]
        values = [round(report[OBJECTIVE], 5) for report in told]
        params = {name: _short(value) for name, value in trial.params.items()}
        curves.append(Curve(seed, trial.number, params, values, seconds))
    return curves


def read_curves(path: Path = CURVES) -> list[Curve]:
    """The curves of a file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Curve(**curve) for curve in content["curves"]]


def write_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Write curves, one a line, below what they are."""
    made = "python -m tests.benchmarks.curves; see README.md beside this file"
    head = json.dumps({"made_by": made, "machine": machine()})[:-1]
    lines = (json.dumps(asdict(curve), separators=(",", ":")) for curve in curves)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head}, "curves": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of searches without a scheduler.")],
    into: Annotated[Path, typer.Option(help="The file that keeps the curves.")] = CURVES,
) -> None:
    """Add the curves of some searches to a file."""
    known = {(c.seed, c.number): c for c in (read_curves(into) if into.exists() else [])}
    for run in runs:
        known |= {(curve.seed, curve.number): curve for curve in curves_of(run)}
    write_curves(into, [known[key] for key in sorted(known)])
    print(f"{into}: {len(known)} curves, {into.stat().st_size / 1000:.0f} kB.")


if __name__ == "__main__":
    typer.run(main)
