"""Time of a whole search, compared with a plain script with the same trial.

    python -m benchmarks.search
    python -m benchmarks.search --plain-repeats 0     # without the script

`short`: 24 trials under ASHA with up to 9 epochs of 22 steps of 32 triplets, ICD-10-CM chapter 5.
Each command runs as a user runs it, including imports. `times plain` compares the seconds from
the start of a command to the end of its last trial. The script does nothing after that, while the
project computes test scores, trains a classical twin and writes the bundle. The number of epochs
under ASHA differs between runs.
`long`: 8 trials of half a minute or more on 12 chapters. A core is in training while a trial
computes its epochs.

The seconds are divided into `before` the first trial (imports, data, Ray), the trials' time per
core, and `after` the last trial (test, classical twin, export). The trials' time consists of
`training`, `reports` (checkpoints, and waiting for the driver to accept a report), `start, end`
(from the suggestion to the start of the trial's code, and from its end to the record in the
study), and `no trial` on the core.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.measuring import AsJson, show, table
from tuning.records import SECONDS, TRAINING_SECONDS
from tuning.study.run_folder import load_study

CHAPTERS = (1, 2, 4, 5, 9, 11, 12, 14, 15, 17, 18, 21)
BASE = Path(__file__).parents[1] / "configs" / "training_config.yaml"
PARAMETERS: dict[str, Any] = {
    "optimizer.mlp_lr": {"type": "float", "low": 0.0001, "high": 0.005, "log": True},
    "optimizer.circuit_lr": {"type": "float", "low": 0.001, "high": 0.05, "log": True},
    "loss.margin": {"type": "float", "low": 0.05, "high": 0.8},
    "mlp.dropout": {"type": "float", "low": 0.0, "high": 0.5},
}


@dataclass(frozen=True)
class Timeline:
    """The seconds of one search, from the start of its command.

    Attributes:
        wall: The duration of the command.
        begins: The start of the first trial.
        ends: The end of the last trial.
        trials: The number of trials.
        epochs: The number of epochs of all trials.
        alive: The time of all trials, from their suggestion to their end.
        reported: The time of all trials, as they report it.
        training: The time of all trials in training.
    """

    wall: float
    begins: float
    ends: float
    trials: int
    epochs: int
    alive: float
    reported: float
    training: float

    @property
    def phase(self) -> float:
        """The seconds in which trials run."""
        return self.ends - self.begins

    def share(self, cores: int) -> float:
        """Return the share of the cores' time in training while trials run."""
        return self.training / (cores * self.phase)


def short_space(engine: str) -> dict[str, Any]:
    """Return a space of 24 trials with up to 9 epochs of 22 steps."""
    data = {"seen": ["icd10:5"], "unseen_validation": [], "unseen_test": []}
    # 873 queries: 698 for training in 22 batches, 174 for validation, one for testing.
    splits = {"validation_split": 0.2, "test_split": 0.001}
    return _space(
        engine,
        data | splits,
        {"warmup.steps": 0},
        {"trials": 24, "epochs": 9, "hours": 1, "trial_memory_gb": 4},
        {"name": "asha", "grace_period": 1, "reduction_factor": 3},
    )


def long_space(engine: str, epochs: int) -> dict[str, Any]:
    """Return a space of 8 trials without early stopping."""
    data = {
        "seen": [f"icd10:{chapter}" for chapter in CHAPTERS],
        "unseen_validation": ["icd10:7", "icd10:8"],
        "unseen_test": ["icd10:3"],
    }
    fixed = {
        "loss.name": "margin_ranking",
        "loss.negatives": 31,
        "training.early_stopping_patience": epochs,
    }
    budget = {"trials": 8, "epochs": epochs, "hours": 1, "trial_memory_gb": 4}
    return _space(engine, data, fixed, budget, {"name": "none"})


def _space(
    engine: str,
    data: dict[str, Any],
    fixed: dict[str, Any],
    budget: dict[str, Any],
    scheduler: dict[str, Any],
) -> dict[str, Any]:
    return {
        "name": "benchmark",
        "base": str(BASE),
        "data": data,
        "fixed": fixed | {"circuit.engine": engine},
        "objective": {"metric": "ndcg@10", "mode": "max"},
        "budget": budget,
        "sampler": {"name": "tpe", "seed": 7, "startup_trials": 8},
        "scheduler": scheduler,
        "start_from": [],
        "top_k": 1,
        "parameters": PARAMETERS,
    }


def run_search(space: dict[str, Any]) -> Timeline:
    """Run `python -m tuning.search` and read its study."""
    with tempfile.TemporaryDirectory() as temporary:
        path, folder = Path(temporary) / "space.yaml", Path(temporary) / "run"
        path.write_text(json.dumps(space), encoding="utf-8")  # JSON is YAML
        began, wall = run_command(["tuning.search", "--space", path, "--output", folder])
        trials = load_study(folder).get_trials(deepcopy=False)
        starts = [t.datetime_start.timestamp() for t in trials if t.datetime_start]
        ends = [t.datetime_complete.timestamp() for t in trials if t.datetime_complete]
        return Timeline(
            wall=wall,
            begins=min(starts) - began,
            ends=max(ends) - began,
            trials=len(trials),
            epochs=sum(max(t.intermediate_values, default=0) for t in trials),
            alive=sum(ends) - sum(starts),
            reported=sum(t.user_attrs[SECONDS] for t in trials),
            training=sum(t.user_attrs[TRAINING_SECONDS] for t in trials),
        )


def run_plain(space: dict[str, Any]) -> dict[str, Any]:
    """Run the plain script and return its seconds and its numbers of trials and epochs."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "space.yaml"
        path.write_text(json.dumps(space), encoding="utf-8")
        began, wall = run_command(["benchmarks.plain_search", path, temporary])
        took: dict[str, Any] = json.loads((Path(temporary) / "took.json").read_text())
        return took | {"wall": wall, "ends": took["ended"] - began}


def run_command(arguments: Sequence[str | Path]) -> tuple[float, float]:
    """Run a module as a command. Return its start and its duration in seconds."""
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "WANDB_MODE": "offline"},
    )
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return began, time.time() - began


def where_it_goes(name: str, line: Timeline, cores: int) -> tuple[str, ...]:
    """Return the parts of the seconds of a command, those of trials per core."""
    parts = (
        line.begins,
        line.training / cores,
        (line.reported - line.training) / cores,
        (line.alive - line.reported) / cores,
        line.phase - line.alive / cores,
        line.wall - line.ends,
    )
    return name, f"{line.wall:.1f}", *(f"{part:.1f}" for part in parts)


def main(
    repeats: int = 1,
    plain_repeats: int = 1,
    epochs: Annotated[
        int, typer.Option(help="Number of epochs of a long trial; 0 skips them.")
    ] = 12,
    as_json: AsJson = False,
) -> None:
    """Print seconds, trials per minute and the share of core time in training."""
    cores = len(os.sched_getaffinity(0))
    engines = ("lightning.qubit", "statevector")
    plain = [run_plain(short_space("qnode")) for _ in range(plain_repeats)]
    runs = {
        f"short, {engine}": [run_search(short_space(engine)) for _ in range(repeats)]
        for engine in engines
    }
    if epochs:
        runs["long, lightning.qubit"] = [run_search(long_space("lightning.qubit", epochs))]
    fastest = min((took["ends"] for took in plain), default=float("nan"))
    rows, parts = [], []
    for took in plain:
        share = took["training_seconds"] / (cores * took["trials_phase_seconds"])
        rows.append(_row("short, plain script", took, share, fastest / took["ends"]))
    for name, lines in runs.items():
        for line in lines:
            ratio = fastest / line.ends if name.startswith("short") else float("nan")
            rows.append(_row(name, vars(line), line.share(cores), ratio))
            parts.append(where_it_goes(name, line, cores))
    columns = (
        "search", "s", "last trial after", "trials", "epochs", "a minute", "in training",
        "times plain",
    )  # fmt: skip
    where = ("search", "s", "before", "training", "reports", "start, end", "no trial", "after")
    record = {
        "plain": plain,
        **{name: [vars(line) | {"share": line.share(cores)} for line in lines]
           for name, lines in runs.items()},
    }  # fmt: skip
    tables = [
        table("searches, each command from its start to its end", columns, rows),
        table(f"where the seconds go, of trials per core ({cores})", where, parts),
    ]
    show(record, tables, as_json)


def _row(name: str, took: Mapping[str, Any], share: float, ratio: float) -> tuple[str, ...]:
    return (
        name,
        f"{took['wall']:.1f}",
        f"{took['ends']:.1f}",
        str(took["trials"]),
        str(took["epochs"]),
        f"{60 * took['trials'] / took['ends']:.1f}",
        f"{share:.0%}",
        "" if math.isnan(ratio) else f"{ratio:.1f}",
    )


if __name__ == "__main__":
    typer.run(main)
