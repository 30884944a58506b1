"""Kills the driver of a search again and again, and sees that nothing is lost.

    python -m tests.chaos.driver --rounds 20

One search runs undisturbed; the same one is then killed with SIGKILL at a random
moment of every round (at its start, while trials train, while a checkpoint or the
bundle is written) and continued with --resume. After every round and at the end the study is
held to what a search promises.
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
class Seen:
    """What was true of a run after a round, and must stay so."""

    complete: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    best: float = float("-inf")


def main(
    rounds: Annotated[int, typer.Option(help="How often the driver is killed.")] = 20,
    trials: Annotated[int, typer.Option(help="Trials of the search.")] = TRIALS_TO_RUN,
    times: Annotated[
        int, typer.Option(help="The data of small domains: 1 is a trial shorter than a start.")
    ] = 3,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    most_work: Annotated[
        float, typer.Option(help="Core-seconds at most, in those of the undisturbed search.")
    ] = 1.3,
    as_json: AsJson = False,
) -> None:
    """Print what each round found, and how much work the killed search took beside the other."""
    slowness()  # is measured now, and not when it is time to kill
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        root = Path(name)
        space = write_search(root, trials, times)
        calm, killed = root / "calm", root / "killed"
        run_to_end(["--space", str(space), "--output", str(calm)])
        rows, broken = kill_rounds(space, killed, rounds, random.Random(seed))
        run_to_end(["--resume", str(killed)])
        broken += broken_at_the_end(killed, trials)
        work = {run.name: core_seconds(run) for run in (calm, killed)}
        epochs = {run.name: trained_epochs(run) for run in (calm, killed)}
    ratio = work["killed"] / work["calm"]
    if ratio > most_work:
        broken.append(f"the killed search took {ratio:.2f} times the work")
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
        "told",
        "complete",
        "running",
        "ledger s",
        "best",
    )
    title = f"{rounds} kills: {work['killed']:.0f} core-seconds, undisturbed {work['calm']:.0f}"
    title += f", {ratio:.2f} times\n{epochs['killed']} epochs, undisturbed {epochs['calm']}"
    show(record, [table(title, columns, rows)], as_json)
    for line in broken:
        Console(stderr=True).print(f"BROKEN: {line}", markup=False)
    raise typer.Exit(1 if broken else 0)


def write_search(root: Path, trials: int, times: int = 1, layers: int = LAYERS) -> Path:
    """Three domains, as many times as large as the small ones, and a space over them."""
    write_domains(root, times)
    # Who strikes again and again may strike one configuration more often than chance would.
    budget = f"{{trials: {trials}, epochs: {EPOCHS}, trial_memory_gb: 1.5, retries: 100}}"
    extra = f"start_from: [{{}}]\nfixed: {{training.batch_size: 1, circuit.n_layers: {layers}}}"
    space = write_space(root, root, budget, extra)
    # Wide layers are there for those who run out of memory; here they would only take time.
    text = space.read_text().replace(
        "grace_period: 1, reduction_factor: 2", "grace_period: 3, reduction_factor: 3"
    )
    space.write_text(text.replace(", 8192", ""))
    return space


def kill_rounds(
    space: Path, folder: Path, rounds: int, rng: random.Random
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Start or continue the search and kill it, round after round; what was broken on the way."""
    rows, broken, seen = [], [], Seen()
    for number in range(rounds):
        has_started = (folder / EVENTS).exists()
        where = ["--resume", str(folder)] if has_started else fresh(space, folder)
        moment = MOMENTS[number % len(MOMENTS)] if number < rounds - 2 else "export"
        started = time.monotonic()
        process = search(where)
        wait_for(moment, folder, process, rng)
        after = time.monotonic() - started
        process.kill()
        code = process.wait()
        ended = "" if code == -signal.SIGKILL else f" (had ended with {code})"
        if code not in (0, -signal.SIGKILL):
            broken.append(f"round {number}: exit code {code}")
        facts = Counter[str]()
        if (folder / EVENTS).exists():
            facts.update(broken_after_a_kill(folder, seen, number, broken))
        rows.append(
            (
                str(number),
                moment + ended,
                f"{after:.1f}",
                *(str(facts[name]) for name in ("told", "COMPLETE", "RUNNING")),
                f"{seen.seconds:.1f}",
                f"{seen.best:.4f}",
            )
        )
        Console(stderr=True).print("  ".join(rows[-1]), markup=False)
    return rows, broken


def fresh(space: Path, folder: Path) -> list[str]:
    """Arguments of a search that starts; what a kill before its first event left is put away."""
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}-{time.monotonic_ns()}"))
    return ["--space", str(space), "--output", str(folder)]


def search(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the command, its output thrown away."""
    return subprocess.Popen(
        command("tuning.search", "--wandb", "offline", *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )


def run_to_end(arguments: Sequence[str]) -> None:
    """Run a search to its end; whatever keeps it from that is this command's end too."""
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
    """Return at a moment of a search, or when it has ended."""

    def writes() -> bool:
        try:
            unfinished = (folder / TRIALS).glob("*/*.unfinished")
            return any(changed_ns(path) > called for path in unfinished)
        except FileNotFoundError:  # the files of a trial that lost were removed meanwhile
            return False

    before, called = trained_epochs(folder), time.time_ns()
    conditions: Mapping[str, tuple[Callable[[], bool], float]] = {
        "start": (lambda: True, 9.0),
        "training": (lambda: trained_epochs(folder) > before, 4.0),
        "checkpoint": (writes, 0.0),
        "export": (lambda: any(folder.glob(f"..{BEST}-*")), 0.02),
        "any": (lambda: True, 18.0),
    }
    condition, longest = conditions[moment]
    while process.poll() is None and not condition():
        time.sleep(0.001)
    let_run(process, rng.uniform(0.0, longest))


def broken_after_a_kill(folder: Path, seen: Seen, number: int, broken: list[str]) -> Counter[str]:
    """Hold a study to what was seen of it before; counts of its trials by state."""
    study = load_study(folder)
    trials = study.get_trials(deepcopy=False)
    complete = {t.number: t.value for t in trials if t.state == TrialState.COMPLETE}
    for trial, value in seen.complete.items():
        if complete.get(trial) != value:
            broken.append(f"round {number}: trial {trial} was COMPLETE with {value}")
    spent = sum(session["seconds"] for session in sessions(study.user_attrs))
    if spent < seen.seconds:
        broken.append(f"round {number}: the ledger went back from {seen.seconds} to {spent}")
    best = max((v for v in complete.values() if v is not None), default=float("-inf"))
    if best < seen.best:
        broken.append(f"round {number}: the best went from {seen.best} to {best}")
    seen.complete = {n: v for n, v in complete.items() if v is not None}
    seen.seconds, seen.best = spent, best
    counts = Counter(trial.state.name for trial in trials)
    counts["told"] = len(StudyView(trials).finished())
    return counts


def broken_at_the_end(folder: Path, n_trials: int) -> list[str]:
    """What a search promises of its end, and does not hold."""
    trials = load_study(folder).get_trials(deepcopy=False)
    broken = []
    unfinished = [t.number for t in trials if not t.state.is_finished()]
    if unfinished:
        broken.append(f"trials {unfinished} are not told")
    if len(StudyView(trials).finished()) != n_trials:
        broken.append(f"{len(StudyView(trials).finished())} trials are finished, not {n_trials}")
    configurations = Counter(
        json.dumps(t.params, sort_keys=True) for t in StudyView(trials).finished()
    )
    twice = [params for params, count in configurations.items() if count > 1]
    if twice:
        broken.append(f"told twice: {twice}")
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
    """A trial that continues another must have its values, and go on from there."""
    broken = []
    for trial in trials:
        before = trial.user_attrs.get(CONTINUES)
        known = {} if before is None else trials[before].intermediate_values
        for epoch, value in known.items():
            if trial.intermediate_values.get(epoch, value) != value:
                broken.append(f"epoch {epoch} of trial {trial.number} is not that of {before}")
    return broken


def broken_rungs(folder: Path) -> list[str]:
    """Each session must have started with the rungs of all trials told until then."""
    told_until: dict[int, int] = {}  # trial -> epochs, of those told and not cut short
    reported: dict[int, int] = {}
    broken = []
    for event in read_events(folder):
        if event["event"] == "reported":
            reported[event["trial"]] = event["epoch"]
        if event["event"] == "ended" and not event["reason"].startswith(("interr", "worker")):
            told_until[event["trial"]] = event["epoch"]
        if event["event"] == "session_started":
            expected = [sum(epochs >= rung for epochs in told_until.values()) for rung in RUNGS]
            found = list(event["rungs"][0].values())
            # Those that were cut short count too, each configuration once.
            most = [sum(epochs >= rung for epochs in reported.values()) + 2 for rung in RUNGS]
            if any(not e <= f <= m for e, f, m in zip(expected, found, most, strict=True)):
                broken.append(f"a session started with rungs {found}, but {expected} were there")
    return broken


def core_seconds(folder: Path) -> float:
    """Seconds that all attempts took, with what trained unseen between a last report and a kill."""
    total, running, last_time = 0.0, {}, 0.0
    spent: dict[int, float] = {}
    for event in [*read_events(folder), {"event": "session_started", "time": None}]:
        now = datetime.fromisoformat(event["time"]).timestamp() if event["time"] else last_time
        if event["event"] == "session_started":  # what still runs was killed about there
            total += sum(spent.values()) + sum(last_time - seen for seen in running.values())
            spent, running = {}, {}
        elif event["event"] == "reported":
            spent[event["trial"]] = event.get("seconds", 0.0)
            running[event["trial"]] = now
        elif event["event"] == "ended":
            running.pop(event["trial"], None)
        last_time = now
    return total


def trained_epochs(folder: Path) -> int:
    """Epochs that were reported, those that a continued trial trained again too."""
    return sum(event["event"] == "reported" for event in read_events(folder))


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of a run; a line that a kill cut off is left out."""
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
