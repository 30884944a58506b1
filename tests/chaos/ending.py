"""Ends searches by each budget and signal while trials are in flight, and times the end.

    python -m tests.chaos.ending

Two trials run at a time; the first report an epoch after the other, later ones hang and never
report. Within 30 s of the end everything must be told, and the best so far exported.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

import typer
from optuna.trial import TrialState
from rich.console import Console

from tests.benchmarks.measuring import AsJson, show, table
from tests.chaos.driver import read_events
from tests.chaos.faults import hang, with_fault
from tests.integration.conftest import write_domains, write_space
from tuning.records import FAILURE, ORIGIN
from tuning.session import search
from tuning.space_file import load_space
from tuning.study.run_folder import BEST, load_study

SECONDS_TO_RUN, MOST_SECONDS = 30.0, 30.0
# What ends the search: a budget that is over after SECONDS_TO_RUN, or a signal sent then.
BUDGETS = {
    "hours": f"hours: {SECONDS_TO_RUN / 3600}",
    "core-hours": f"core_hours: {SECONDS_TO_RUN / 3600 / 2}",
}
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


def some_hang(params: dict[str, Any], **given: Any) -> None:
    """`run_trial`, where every second one hangs, but for the first."""
    with_fault(hang if params[ORIGIN] % 2 and params[ORIGIN] > 2 else None, params, given)


def main(as_json: AsJson = False) -> None:
    """Print how long the end of each search took, from its reason to the last file."""
    rows: list[tuple[str, ...]] = []
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        write_domains(Path(name))
        for what in (*BUDGETS, *SIGNALS):
            row, wrong = ended_by(what, Path(name))
            rows.append(row)
            broken += [f"{what}: {text}" for text in wrong]
    columns = ("ended by", "s to the end", "complete", "pruned", "cut short")
    record = {"rows": [dict(zip(columns, row, strict=True)) for row in rows], "broken": broken}
    show(record, [table("The end of a search, trials in flight", columns, rows)], as_json)
    for line in broken:
        Console(stderr=True).print(f"BROKEN: {line}", markup=False)
    raise typer.Exit(1 if broken else 0)


def ended_by(what: str, root: Path) -> tuple[tuple[str, ...], list[str]]:
    """One search that is ended while it runs: its row, and what is wrong with its end."""
    folder = root / what
    folder.mkdir()
    more = BUDGETS.get(what, "hours: 1")
    budget = f"{{trials: 1000, epochs: 1000, trial_memory_gb: 1.2, {more}}}"
    space = write_space(root, root, budget, "fixed: {training.early_stopping_patience: 1000}")
    timer = threading.Timer(SECONDS_TO_RUN, os.kill, (os.getpid(), SIGNALS.get(what, 0)))
    if what in SIGNALS:
        timer.start()
    with contextlib.redirect_stderr(io.StringIO()):
        quiet = Console(file=io.StringIO())
        search(load_space(space), folder, quiet, None, "offline", trial=some_hang)
    seconds = read_events(folder)[-1]["ending_seconds"]
    trials = load_study(folder).trials
    states = [trial.state for trial in trials]
    cut = [t for t in trials if str(t.user_attrs.get(FAILURE, "")).startswith("interrupted")]
    counts = (states.count(TrialState.COMPLETE), states.count(TrialState.PRUNED), len(cut))
    wrong = []
    if seconds > MOST_SECONDS:
        wrong.append(f"took {seconds:.1f} s")
    if not all(state.is_finished() for state in states):
        wrong.append("a trial is not told")
    if not (folder / BEST / "manifest.json").exists():
        wrong.append("nothing is exported")
    if not cut:
        wrong.append("no trial was in flight")
    return (what, f"{seconds:.1f}", *map(str, counts)), wrong


if __name__ == "__main__":
    typer.run(main)
