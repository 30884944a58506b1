"""Ends searches by each budget and signal while trials are in flight, and times the end.

    python -m tests.chaos.ending

Every second trial hangs and never reports. The search is ended when one of them has started and
another trial has reported. Within 30 s of that, more on a slow machine, everything must be told,
and the best so far exported.
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
# What ends the search: a budget, of hours by a clock that is put forward, or a signal.
BUDGETS = {"hours": f"hours: {HOURS}", "core-hours": f"core_hours: {15 / 3600}"}
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


def some_hang(params: dict[str, Any], **given: Any) -> None:
    """`run_trial`, where every second one hangs."""
    with_fault(hang if hangs(metadata_of(params).origin) else None, params, given)


def hangs(origin: int) -> bool:
    """Whether a trial hangs, by the number of its first attempt."""
    return origin % 2 == 1


def main(
    by: Annotated[
        list[str] | None, typer.Option(help="Only this: hours, core-hours, Ctrl-C or SIGTERM.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print how long the end of each search took, from its reason to the last file."""
    slowness()  # is measured now, and not beside the searches
    rows: list[tuple[str, ...]] = []
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        write_domains(Path(name))
        for what in by or (*BUDGETS, *SIGNALS):
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
    more = BUDGETS.get(what, f"hours: {HOURS}")
    budget = f"{{trials: 1000, epochs: 1000, trial_memory_gb: 1.2, {more}}}"
    space = write_space(root, root, budget, "fixed: {training.early_stopping_patience: 1000}")
    text = space.read_text().replace("confirm_seeds: 1", "confirm_seeds: 0")
    space.write_text(text.replace(", 8192", ""))
    its_time = threading.Event()
    watcher = threading.Thread(target=watch, args=(folder, its_time, SIGNALS.get(what)))
    watcher.daemon = True  # the search may fail before its time
    watcher.start()

    def clock() -> float:
        is_over = what == "hours" and its_time.is_set()
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
    wrong = []
    if not ended:
        wrong.append("ran to its end")
    if seconds > MOST_SECONDS * slowness():
        wrong.append(f"took {seconds:.1f} s")
    if not all(state.is_finished() for state in states):
        wrong.append("a trial is not told")
    if not (folder / BEST / "manifest.json").exists():
        wrong.append("nothing is exported")
    if not cut:
        wrong.append("no trial was in flight")
    return (what, f"{seconds:.1f}", *map(str, counts)), wrong


def watch(folder: Path, its_time: threading.Event, number: signal.Signals | None) -> None:
    """Wait for a report and for the start of a trial that hangs; then it is time."""
    while not its_time.wait(0.05):
        events = read_events(folder)
        hanging = [e for e in events if e["event"] == "started" and hangs(e["trial"])]
        if hanging and any(event["event"] == "reported" for event in events):
            its_time.set()
    if number is not None:
        os.kill(os.getpid(), number)


if __name__ == "__main__":
    typer.run(main)
