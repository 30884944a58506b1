"""End searches by each budget and signal while trials are running, and time the end.

    python -m tests.chaos.ending

Every second trial hangs and never reports. The search is ended after one of them has started and
another trial has reported. Within 30 s of that, more on a slow machine, every trial must be
recorded as finished and the best one exported.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.measuring import AsJson, show, table
from tests.chaos.driver import read_events
from tests.chaos.faults import hang, with_fault
from tests.integration.conftest import write_domains, write_space
from tests.speed import slowness
from tuning.records import metadata_of
from tuning.session.search import search
from tuning.session.search_state import SearchOptions
from tuning.space.file import load_space
from tuning.study.run_folder import BEST, load_study
from tuning.study.trials import is_cut_short

MOST_SECONDS = 30.0
HOURS = 24.0
# Causes of the end: budgets, the hours by a clock that jumps ahead, and signals.
BUDGETS = {"hours": f"hours: {HOURS}", "core-hours": f"core_hours: {15 / 3600}"}
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


def some_hang(params: dict[str, Any], **arguments: Any) -> None:
    """Run a trial; every second one hangs."""
    with_fault(hang if hangs(metadata_of(params).origin) else None, params, arguments)


def hangs(origin: int) -> bool:
    """Return True if a trial hangs, by the number of its first attempt."""
    return origin % 2 == 1


def main(
    by: Annotated[
        list[str] | None,
        typer.Option(help="Only hours, core-hours, Ctrl-C or SIGTERM."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the seconds from the cause of each search's end to its last file."""
    slowness()  # measured before the searches, not beside them
    rows: list[tuple[str, ...]] = []
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        write_domains(Path(name))
        for cause in by or (*BUDGETS, *SIGNALS):
            row, faults = ended_by(cause, Path(name))
            rows.append(row)
            broken += [f"{cause}: {text}" for text in faults]
    columns = ("ended by", "s to the end", "complete", "pruned", "cut short")
    record = {"rows": [dict(zip(columns, row, strict=True)) for row in rows], "broken": broken}
    show(record, [table("The end of a search with running trials", columns, rows)], as_json)
    for line in broken:
        Console(stderr=True).print(f"BROKEN: {line}", markup=False)
    raise typer.Exit(1 if broken else 0)


def ended_by(cause: str, root: Path) -> tuple[tuple[str, ...], list[str]]:
    """Run a search and end it while it runs; return its table row and its faults."""
    folder = root / cause
    folder.mkdir()
    limit = BUDGETS.get(cause, f"hours: {HOURS}")
    budget = f"{{trials: 1000, epochs: 1000, trial_memory_gb: 1.2, {limit}}}"
    fixed = "{training.early_stopping_patience: 1000}"
    space = write_space(root, root, budget, fixed=fixed, confirm_seeds="0")
    is_time = threading.Event()
    watcher = threading.Thread(target=watch, args=(folder, is_time, SIGNALS.get(cause)))
    watcher.daemon = True  # the search may fail earlier
    watcher.start()

    def clock() -> float:
        is_over = cause == "hours" and is_time.is_set()
        return time.monotonic() + (3600.0 * HOURS if is_over else 0.0)

    with contextlib.redirect_stderr(io.StringIO()):
        quiet = Console(file=io.StringIO())
        options = SearchOptions(wandb_mode="offline", clock=clock, train=some_hang)
        ended = search(load_space(space), folder, quiet, options)
    seconds = read_events(folder)[-1]["ending_seconds"]
    trials = load_study(folder).trials
    states = [trial.state for trial in trials]
    cut = [t for t in trials if is_cut_short(t)]
    counts = (states.count(TrialState.COMPLETE), states.count(TrialState.PRUNED), len(cut))
    faults = []
    if not ended:
        faults.append("the search was not ended early")
    if seconds > MOST_SECONDS * slowness():
        faults.append(f"the end took {seconds:.1f} s")
    if not all(state.is_finished() for state in states):
        faults.append("a trial is not finished")
    if not (folder / BEST / "manifest.json").exists():
        faults.append("there is no bundle")
    if not cut:
        faults.append("no trial was running")
    return (cause, f"{seconds:.1f}", *map(str, counts)), faults


def watch(folder: Path, is_time: threading.Event, number: signal.Signals | None) -> None:
    """Wait for a report and for the start of a trial that hangs, then end the search."""
    while not is_time.wait(0.05):
        events = read_events(folder)
        hanging = [e for e in events if e["event"] == "started" and hangs(e["trial"])]
        if hanging and any(event["event"] == "reported" for event in events):
            is_time.set()
    if number is not None:
        os.kill(os.getpid(), number)


if __name__ == "__main__":
    typer.run(main)
