"""Run searches with faulty trials and check that only those fail.

    python -m tests.chaos.faults

Some trials leak memory, take 10 GB at once or start a process that does, hang (with and without
holding Python's lock) or raise. Hanging trials are detected by a clock that advances with the
epochs of the other trials, not with the speed of the machine. A further search has a trial that
Ray's memory monitor kills. In the last one another process takes 90 % of the machine's memory
while a trial leaks: that trial alone is given up.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import psutil
import typer
from optuna.trial import FrozenTrial
from rich.console import Console

from benchmarks.measuring import AsJson, show, table
from tests.chaos.driver import read_events
from tests.integration.conftest import write_domains, write_space
from tuning.records import PEAK_RSS_MB, metadata_of
from tuning.session.search import search
from tuning.session.search_state import SearchOptions
from tuning.space.file import load_space
from tuning.study import attributes
from tuning.study.run_folder import load_study
from tuning.study.view import StudyView
from tuning.workers.trainable import run_trial

BUDGET_GB, TRIALS, EPOCHS, WATCH_SECONDS = 1.2, 14, 12, 0.25
FEW_TRIALS, FEW_EPOCHS = 5, 3
# For HangingClock. All steps together are shorter than the time after which a driver counts as
# having been stopped.
STEP_SECONDS, STEPS_WITHOUT_EPOCH = 0.06, 5
HANGS = "CHAOS_HANGS"  # environment variable: a folder with a file for each trial that hangs
_TAKE_1_5_GB = "import time; taken = b'1' * 1_500_000_000; time.sleep(1e6)"


def leak(_: Any) -> None:
    taken = []
    while True:
        taken.append(np.ones(2_500_000))  # 20 MB
        time.sleep(0.05)


def gulp(_: Any) -> None:
    taken = np.ones(1_250_000_000)  # 10 GB
    time.sleep(1e6)
    raise RuntimeError(f"a process of {taken.nbytes} bytes was not ended")


def fork(_: Any) -> None:
    subprocess.run([sys.executable, "-c", _TAKE_1_5_GB], check=False)


def hang(_: Any) -> None:
    time.sleep(1e6)


def hang_with_the_lock(_: Any) -> None:
    ctypes.PyDLL(None).sleep(1_000_000)


def fail(_: Any) -> None:
    raise ValueError("this trial fails by itself")


def take_6_gb(_: Any) -> None:
    taken = np.ones(750_000_000)
    time.sleep(1e6)
    raise RuntimeError(f"a process of {taken.nbytes} bytes was not ended")


# Trial -> function that replaces its epochs.
FAULTS: dict[int, Callable[[Any], None]] = {
    2: leak, 3: hang, 4: gulp, 6: fork, 7: hang_with_the_lock, 9: fail,
}  # fmt: skip
FEW_FAULTS: dict[int, Callable[[Any], None]] = {1: fork, 2: hang_with_the_lock, 3: fail}
EXPECTED = {
    leak: "oom", gulp: "oom", fork: "oom", hang: "timeout", hang_with_the_lock: "timeout",
    fail: "error",
}  # fmt: skip
GREEDY = 3  # in the searches with Ray's memory monitor and with a full machine
FULL = 0.9  # share of the machine's memory that is taken
_THRESHOLD, _REFRESH = "RAY_memory_usage_threshold", "RAY_memory_monitor_refresh_ms"
# The first process that the kernel ends, should the memory not suffice.
_FILL = """import sys, time
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("1000")
taken = b"1" * int(sys.argv[1])
time.sleep(1e6)"""


def faulty(params: dict[str, Any], **arguments: Any) -> None:
    """Run a trial; some have a fault."""
    with_faults_of(FAULTS, params, arguments)


def faulty_few(params: dict[str, Any], **arguments: Any) -> None:
    """Run a trial; a few have a fault, each another one."""
    with_faults_of(FEW_FAULTS, params, arguments)


def with_faults_of(
    faults: Mapping[int, Callable[[Any], None]], params: dict[str, Any], arguments: dict[str, Any]
) -> None:
    """Run a trial with its fault, if it has any; mark it with a file if it hangs."""
    fault = faults.get(metadata_of(params).origin)

    def announced(trainer: Any) -> None:
        (Path(os.environ[HANGS]) / str(metadata_of(params).number)).touch()
        assert fault is not None
        fault(trainer)

    with_fault(announced if fault in (hang, hang_with_the_lock) else fault, params, arguments)


def greedy(params: dict[str, Any], **arguments: Any) -> None:
    """Run a trial; a single one takes more than the node has, but not more than its budget."""
    with_fault(take_6_gb if metadata_of(params).origin == GREEDY else None, params, arguments)


def leaking(params: dict[str, Any], **arguments: Any) -> None:
    """Run a trial; a single one takes memory until it is ended."""
    with_fault(leak if metadata_of(params).origin == GREEDY else None, params, arguments)


def with_fault(
    fault: Callable[[Any], None] | None, params: dict[str, Any], arguments: dict[str, Any]
) -> None:
    """Run a trial whose epochs are replaced by a fault, if it has any."""
    from quantum_rerank.training.trainer import Trainer

    original = Trainer._run_epoch
    Trainer._run_epoch = fault or original  # type: ignore[assignment,method-assign]
    try:
        run_trial(params, **arguments)
    finally:
        Trainer._run_epoch = original  # type: ignore[method-assign]


class HangingClock:
    """Clock that advances with the epochs of a search, so that only hanging trials are late.

    It advances by a step when a trial hangs and every other one has reported since the last
    step. An epoch or the start of a worker may take any time. Each hanging trial allows as many
    steps as its detection needs.
    """

    def __init__(self, folder: Path, hangs: Path) -> None:
        self._folder, self._hangs = folder, hangs
        self._steps, self._n_events = 0, 0

    def __call__(self) -> float:
        """Return the seconds since the start of the search."""
        if self._steps < 2 * STEPS_WITHOUT_EPOCH * len(list(self._hangs.iterdir())):
            self._step()
        return STEP_SECONDS * self._steps

    def _step(self) -> None:
        events = read_events(self._folder)
        running = {e["trial"] for e in events if e["event"] == "started"}
        running -= {e["trial"] for e in events if e["event"] == "ended"}
        hanging = running & {int(path.name) for path in self._hangs.iterdir()}
        new = events[self._n_events :]
        if hanging and running - hanging <= {e["trial"] for e in new if e["event"] == "reported"}:
            self._steps, self._n_events = self._steps + 1, len(events)


def main(
    few: Annotated[bool, typer.Option(help="Only three faults, in 5 trials.")] = False,
    monitor: Annotated[
        bool, typer.Option(help="Also run a search with Ray's memory monitor; needs 10 GB.")
    ] = True,
    full: Annotated[
        bool, typer.Option(help="Also run a search while 90 % of this machine's memory is taken.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Print the end of each trial; fail if a trial without a fault failed."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        root = Path(name)
        write_domains(root)
        rows, broken = with_faults(root, few)
        broken += with_memory_monitor(root) if monitor else []
        broken += with_full_node(root) if full else []
    columns = ("trial", "fault", "state", "reason", "peak MB")
    title = f"{len(rows)} trials, {BUDGET_GB} GB each, watched every {WATCH_SECONDS} s"
    record = {"trials": [dict(zip(columns, row, strict=True)) for row in rows], "broken": broken}
    show(record, [table(title, columns, rows)], as_json)
    for line in broken:
        Console(stderr=True).print(f"BROKEN: {line}", markup=False)
    raise typer.Exit(1 if broken else 0)


def with_faults(root: Path, few: bool) -> tuple[list[tuple[str, ...]], list[str]]:
    """Run a search with every fault; return its trials as table rows and the wrong ends."""
    faults, trials, epochs = (FAULTS, TRIALS, EPOCHS)
    if few:
        faults, trials, epochs = (FEW_FAULTS, FEW_TRIALS, FEW_EPOCHS)
    folder, hangs = root / "faults", root / "hangs"
    hangs.mkdir()
    os.environ[HANGS] = str(hangs)
    minutes = STEP_SECONDS * STEPS_WITHOUT_EPOCH / 60
    limits = f"trial_memory_gb: {BUDGET_GB}, epoch_minutes: {minutes:g}, failures_in_a_row: 9"
    budget = f"{{trials: {trials}, epochs: {epochs}, {limits}}}"
    run(root, folder, budget, faulty_few if few else faulty, HangingClock(folder, hangs))
    rows, broken = [], []
    for trial in load_study(folder).trials:
        failure = attributes.failure(trial)
        reason = str(failure or "")
        fault = faults.get(trial.number)
        name = fault.__name__ if fault else ""
        peak = trial.user_attrs.get(PEAK_RSS_MB, 0.0)
        rows.append((str(trial.number), name, trial.state.name, reason, f"{peak:.0f}"))
        if (str(failure.kind) if failure else "") != (EXPECTED[fault] if fault else ""):
            broken.append(f"trial {trial.number} ({name or 'no fault'}) ended with `{reason}`")
    if len(rows) != trials:
        broken.append(f"{len(rows)} trials, not {trials}")
    return rows, broken


def with_memory_monitor(root: Path) -> list[str]:
    """Run a search on a node that Ray keeps below a memory limit; return the wrong ends."""
    memory = psutil.virtual_memory()
    limit = (memory.total - memory.available + 3.5e9) / memory.total
    folder = root / "monitored"
    with patch.dict(os.environ, {_THRESHOLD: f"{limit:.3f}", _REFRESH: "100"}):
        run(root, folder, "{trials: 6, epochs: 8, trial_memory_gb: 8, retries: 1}", greedy)
    return only_greedy_given_up("with Ray's memory monitor", load_study(folder).trials)


def with_full_node(root: Path) -> list[str]:
    """Run a search while another process takes 90 % of the memory; return the wrong ends."""
    folder = root / "full"
    ended = threading.Event()
    filler = threading.Thread(target=fill_memory, args=(folder, ended))
    filler.start()
    try:
        with patch.dict(os.environ, {_REFRESH: "100"}):
            run(root, folder, "{trials: 6, epochs: 30, trial_memory_gb: 6, retries: 1}", leaking)
    finally:
        ended.set()
        filler.join()
    return only_greedy_given_up(f"at {FULL:.0%} of the memory", load_study(folder).trials)


def fill_memory(folder: Path, ended: threading.Event) -> None:
    """Let another process take memory once a trial has reported, until the search has ended."""
    while not any(event["event"] == "reported" for event in read_events(folder)):
        if ended.wait(0.1):
            return
    memory = psutil.virtual_memory()
    n_bytes = int(memory.available - (1.0 - FULL) * memory.total)
    process = subprocess.Popen([sys.executable, "-c", _FILL, str(n_bytes)])
    ended.wait()
    process.kill()
    process.wait()


def only_greedy_given_up(where: str, trials: list[FrozenTrial]) -> list[str]:
    """Return a fault unless the greedy trial alone was given up.

    Other workers may be lost as well; their trials must have been continued to their end.
    """
    continued = StudyView(trials).superseded()
    given_up = {
        StudyView(trials).attempts(t.number)[-1]: str(attributes.failure(t))
        for t in trials
        if attributes.failure(t) and t.number not in continued
    }
    lost = f"{len(continued)} attempts cut short and continued, given up {given_up}"
    Console(stderr=True).print(f"{where}: {lost}", markup=False)
    return [] if list(given_up) == [GREEDY] else [f"{where}: {lost}"]


def run(
    root: Path,
    folder: Path,
    budget: str,
    trial: Callable[..., None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run a search in this process until its end and discard its output."""
    space = write_space(
        root,
        root,
        budget,
        fixed="{training.batch_size: 1}",
        scheduler="{name: none}",
        confirm_seeds="0",
    )
    folder.mkdir()
    with contextlib.redirect_stderr(io.StringIO()):
        quiet = Console(file=io.StringIO())
        options = SearchOptions(clock=clock, train=trial)
        search(load_space(space), folder, quiet, options)


if __name__ == "__main__":
    typer.run(main)
