"""Kill the driver of a search repeatedly and check that nothing is lost.

    python -m tests.chaos.driver --rounds 20

A search runs undisturbed. The same search is then killed with SIGKILL at a random moment of
every round (at its start, while trials train, while a checkpoint or the bundle is written) and
continued with --resume. The study is checked after every round and at the end. With --early-end
the search may end with trials left, after 80 proposals at the earliest.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from benchmarks.measuring import AsJson, show, table
from tests.chaos.moments import changed_ns, let_run
from tests.integration.conftest import command, environment, write_domains, write_space
from tests.speed import slowness
from tuning.records import FAILURE
from tuning.study.attributes import CONTINUES, sessions
from tuning.study.run_folder import BEST, EVENTS, load_study
from tuning.study.storage import TRIALS
from tuning.study.trials import is_cut_short
from tuning.study.view import StudyView

TRIALS_TO_RUN, EPOCHS, LAYERS = 100, 27, 8
RUNGS = (3, 9, 27)
MOMENTS = ("start", "training", "checkpoint", "any")


@dataclass
class Snapshot:
    """Facts about a run after a round that later rounds must not undo."""

    complete: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    best: float = float("-inf")


def main(
    rounds: Annotated[int, typer.Option(help="Number of kills.")] = 20,
    trials: Annotated[int, typer.Option(help="Number of trials.")] = TRIALS_TO_RUN,
    times: Annotated[
        int, typer.Option(help="Size of the domains; at 1 a trial is shorter than a start.")
    ] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 0,
    early_end: Annotated[
        bool, typer.Option("--early-end", help="Let the search end with trials left.")
    ] = False,
    most_work: Annotated[
        float,
        typer.Option(help="Highest ratio of trained epochs to those without kills."),
    ] = 1.3,
    as_json: AsJson = False,
) -> None:
    """Print the state after each round and the work of both searches; fail if anything was lost."""
    slowness()  # measured before the kills, not between them
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        root = Path(name)
        space = write_search(root, trials, times, early_end=early_end)
        calm, killed = root / "calm", root / "killed"
        run_to_end(["--space", str(space), "--output", str(calm)])
        rows, broken = kill_rounds(space, killed, rounds, random.Random(seed))
        run_to_end(["--resume", str(killed)])
        broken += broken_at_the_end(killed, trials, ends_early=early_end)
        work = {run.name: core_seconds(run) for run in (calm, killed)}
        epochs = {run.name: trained_epochs(run) for run in (calm, killed)}
    ratio = epochs["killed"] / epochs["calm"]
    if ratio > most_work and not early_end:  # they need not end after the same trial
        broken.append(f"the killed search trained {ratio:.2f} times the epochs of the other")
    record = {
        "rounds": rounds,
        "core_seconds": work,
        "work_ratio": ratio,
        "epochs": epochs,
        "broken": broken,
    }
    columns = (
        "round",
        "killed while",
        "after s",
        "finished",
        "complete",
        "running",
        "ledger s",
        "best",
    )
    title = f"{rounds} kills: {epochs['killed']} epochs, undisturbed {epochs['calm']}"
    title += f", {ratio:.2f} times\n"
    title += f"{work['killed']:.0f} core-seconds, undisturbed {work['calm']:.0f}"
    show(record, [table(title, columns, rows)], as_json)
    for line in broken:
        Console(stderr=True).print(f"BROKEN: {line}", markup=False)
    raise typer.Exit(1 if broken else 0)


def write_search(
    root: Path,
    trials: int,
    times: int = 1,
    layers: int = LAYERS,
    confirm_seeds: int = 1,
    early_end: bool = False,
) -> Path:
    """Write three domains, a multiple of the small ones' size, and a space over them."""
    write_domains(root, times)
    # Repeated kills may hit the same configuration more often than failures by chance would.
    limits = f"trial_memory_gb: 1.5, retries: 100, early_end: {str(early_end).lower()}"
    budget = f"{{trials: {trials}, epochs: {EPOCHS}, {limits}}}"
    return write_space(
        root,
        root,
        budget,
        sampler="{name: random, seed: 3, startup_trials: 40}",
        start_from="[{}]",
        fixed=f"{{training.batch_size: 1, circuit.n_layers: {layers}}}",
        scheduler="{name: asha, grace_period: 3, reduction_factor: 3}",
        confirm_seeds=str(confirm_seeds),
    )


def kill_rounds(
    space: Path, folder: Path, rounds: int, rng: random.Random
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Start or continue the search and kill it in every round; return table rows and faults."""
    rows, broken, snapshot = [], [], Snapshot()
    for number in range(rounds):
        has_started = (folder / EVENTS).exists()
        options = ["--resume", str(folder)] if has_started else fresh(space, folder)
        moment = MOMENTS[number % len(MOMENTS)] if number < rounds - 2 else "export"
        started = time.monotonic()
        process = search(options)
        wait_for(moment, folder, process, rng)
        after = time.monotonic() - started
        process.kill()
        code = process.wait()
        ended = "" if code == -signal.SIGKILL else f" (had ended with {code})"
        if code not in (0, -signal.SIGKILL):
            broken.append(f"round {number}: exit code {code}")
        facts = Counter[str]()
        if (folder / EVENTS).exists():
            facts.update(broken_after_a_kill(folder, snapshot, number, broken))
        rows.append(
            (
                str(number),
                moment + ended,
                f"{after:.1f}",
                *(str(facts[name]) for name in ("finished", "COMPLETE", "RUNNING")),
                f"{snapshot.seconds:.1f}",
                f"{snapshot.best:.4f}",
            )
        )
        Console(stderr=True).print("  ".join(rows[-1]), markup=False)
    return rows, broken


def fresh(space: Path, folder: Path) -> list[str]:
    """Return the options of a new search; rename the folder of a search without events."""
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}-{time.monotonic_ns()}"))
    return ["--space", str(space), "--output", str(folder)]


def search(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a search and discard its output."""
    return subprocess.Popen(
        command("tuning.search", "--wandb", "offline", *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )


def run_to_end(arguments: Sequence[str]) -> None:
    """Run a search until its end; exit if it fails."""
    done = subprocess.run(
        command("tuning.search", "--wandb", "offline", *arguments),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    if done.returncode:
        sys.exit(f"exit code {done.returncode}: {' '.join(arguments)}\n{done.stdout}{done.stderr}")


def wait_for(
    moment: str, folder: Path, process: subprocess.Popen[bytes], rng: random.Random
) -> None:
    """Wait for a moment of a search, or until it has ended."""

    def writes() -> bool:
        try:
            unfinished = (folder / TRIALS).glob("*/*.unfinished")
            return any(changed_ns(path) > called for path in unfinished)
        except FileNotFoundError:  # the files of a pruned trial were removed meanwhile
            return False

    n_epochs, called = trained_epochs(folder), time.time_ns()
    conditions: Mapping[str, tuple[Callable[[], bool], float]] = {
        "start": (lambda: True, 9.0),
        "training": (lambda: trained_epochs(folder) > n_epochs, 4.0),
        "checkpoint": (writes, 0.0),
        "export": (lambda: any(folder.glob(f"..{BEST}-*")), 0.02),
        "any": (lambda: True, 18.0),
    }
    condition, longest = conditions[moment]
    while process.poll() is None and not condition():
        time.sleep(0.001)
    let_run(process, rng.uniform(0.0, longest))


def broken_after_a_kill(
    folder: Path, snapshot: Snapshot, number: int, broken: list[str]
) -> Counter[str]:
    """Compare a study with its earlier snapshot; return the numbers of trials by state."""
    study = load_study(folder)
    trials = study.get_trials(deepcopy=False)
    complete = {t.number: t.value for t in trials if t.state == TrialState.COMPLETE}
    for trial, value in snapshot.complete.items():
        if complete.get(trial) != value:
            broken.append(f"round {number}: trial {trial} was COMPLETE with {value}")
    spent = sum(session["seconds"] for session in sessions(study.user_attrs))
    if spent < snapshot.seconds:
        broken.append(f"round {number}: the ledger went back from {snapshot.seconds} to {spent}")
    best = max((v for v in complete.values() if v is not None), default=float("-inf"))
    if best < snapshot.best:
        broken.append(f"round {number}: the best went from {snapshot.best} to {best}")
    snapshot.complete = {n: v for n, v in complete.items() if v is not None}
    snapshot.seconds, snapshot.best = spent, best
    counts = Counter(trial.state.name for trial in trials)
    counts["finished"] = len(StudyView(trials).finished())
    return counts


def broken_at_the_end(folder: Path, n_trials: int, ends_early: bool = False) -> list[str]:
    """Return the faults of a search that has ended, with fewer trials if it should end early."""
    trials = load_study(folder).get_trials(deepcopy=False)
    broken = []
    unfinished = [t.number for t in trials if not t.state.is_finished()]
    if unfinished:
        broken.append(f"trials {unfinished} are not finished")
    finished = StudyView(trials).finished()
    if ends_early and len(finished) >= n_trials:
        broken.append(f"the search did not end before its {n_trials} trials")
    if not ends_early and len(finished) != n_trials:
        broken.append(f"{len(finished)} trials are finished, not {n_trials}")
    configurations = Counter(json.dumps(t.params, sort_keys=True) for t in finished)
    repeated = [params for params, count in configurations.items() if count > 1]
    if repeated:
        broken.append(f"finished more than once: {repeated}")
    continued = Counter(t.user_attrs[CONTINUES] for t in trials if CONTINUES in t.user_attrs)
    for trial in trials:
        if is_cut_short(trial) and continued[trial.number] != 1:
            reason = trial.user_attrs.get(FAILURE)
            count = continued[trial.number]
            broken.append(f"{count} trials continue trial {trial.number} ({reason})")
    broken += broken_curves(trials) + broken_rungs(folder)
    if not (folder / BEST / "manifest.json").is_file():
        broken.append("there is no bundle")
    return broken


def broken_curves(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the continued trials whose values differ from those of the trial they continue."""
    broken = []
    for trial in trials:
        origin = trial.user_attrs.get(CONTINUES)
        expected = {} if origin is None else trials[origin].intermediate_values
        for epoch, value in expected.items():
            if trial.intermediate_values.get(epoch, value) != value:
                broken.append(f"epoch {epoch} of trial {trial.number} is not that of {origin}")
    return broken


def broken_rungs(folder: Path) -> list[str]:
    """Return the sessions that did not start with the rungs of all earlier trials."""
    finished: dict[int, int] = {}  # trial -> epochs, of those that were not cut short
    reported: dict[int, int] = {}
    broken = []
    for event in read_events(folder):
        if event["event"] == "reported":
            reported[event["trial"]] = event["epoch"]
        if event["event"] == "ended" and not event["reason"].startswith(("interr", "worker")):
            finished[event["trial"]] = event["epoch"]
        if event["event"] == "session_started":
            expected = [sum(epochs >= rung for epochs in finished.values()) for rung in RUNGS]
            actual = list(event["rungs"][0].values())
            # Trials that were cut short count too, each configuration once.
            most = [sum(epochs >= rung for epochs in reported.values()) + 2 for rung in RUNGS]
            if any(not e <= a <= m for e, a, m in zip(expected, actual, most, strict=True)):
                broken.append(f"a session started with rungs {actual}, not {expected}")
    return broken


def core_seconds(folder: Path) -> float:
    """Return the seconds of all attempts, with the time between a last report and a kill."""
    total, running, last_time = 0.0, {}, 0.0
    spent: dict[int, float] = {}
    for event in [*read_events(folder), {"event": "session_started", "time": None}]:
        now = datetime.fromisoformat(event["time"]).timestamp() if event["time"] else last_time
        if event["event"] == "session_started":  # running trials were killed shortly before
            total += sum(spent.values()) + sum(last_time - start for start in running.values())
            spent, running = {}, {}
        elif event["event"] == "reported":
            spent[event["trial"]] = event.get("seconds", 0.0)
            running[event["trial"]] = now
        elif event["event"] == "ended":
            running.pop(event["trial"], None)
        last_time = now
    return total


def trained_epochs(folder: Path) -> int:
    """Return the number of reported epochs, including those that were trained again."""
    return sum(event["event"] == "reported" for event in read_events(folder))


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return the events of a run without a line that a kill cut off."""
    events = []
    try:
        lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


if __name__ == "__main__":
    typer.run(main)
