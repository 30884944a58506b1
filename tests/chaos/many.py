"""Run a study of many short trials and measure the driver's costs for each.

    python -m tests.chaos.many --trials 1000

The costs must not grow with the number of trials. The trials sleep instead of training;
searcher, scheduler, study, W&B files and Ray are real.
"""

from __future__ import annotations

import io
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console

from benchmarks.measuring import AsJson, show, table
from tests.chaos.driver import read_events
from tests.integration.conftest import write_domains, write_space
from tuning.records import CHECKPOINT, EPOCH, FINAL, OBJECTIVE, SECONDS, metadata_of
from tuning.session.search import search
from tuning.session.search_state import SearchOptions
from tuning.space.file import load_space
from tuning.study.run_folder import EVENTS

TRIAL_SECONDS = 1.0
AT = (100, 300, 1000)


@dataclass(frozen=True)
class Sample:
    """Number of trials that had ended at a time, and the driver's processor time and memory."""

    seconds: float
    ended: int
    cpu_seconds: float
    mb: float


def sleeping(params: dict[str, Any], **_: Any) -> None:
    """Sleep and report an epoch, as a trial."""
    from ray import tune

    time.sleep(TRIAL_SECONDS)
    value = 0.5 + 0.1 * float(np.sin(metadata_of(params).number))
    tune.report({EPOCH: 1, FINAL: True, OBJECTIVE: value, SECONDS: TRIAL_SECONDS, CHECKPOINT: 0})


def main(
    trials: Annotated[int, typer.Option(help="Number of trials.")] = 1000, as_json: AsJson = False
) -> None:
    """Print time per trial and the driver's processor time and memory by number of trials."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        root = Path(name)
        write_domains(root)
        space = write_space(root, root, f"{{trials: {trials}, epochs: 1, trial_memory_gb: 1}}")
        folder = root / "run"
        folder.mkdir()
        samples = watched(space, folder)
    points = [number for number in AT if number <= trials]
    rows: list[tuple[str, ...]] = []
    previous = next(sample for sample in samples if sample.ended)  # the workers have started
    for point in points:
        now = next(sample for sample in samples if sample.ended >= point)
        n = now.ended - previous.ended
        per_trial = (now.seconds - previous.seconds) / n
        cpu = 1e3 * (now.cpu_seconds - previous.cpu_seconds) / n
        rows.append((str(point), f"{per_trial:.3f}", f"{cpu:.0f}", f"{now.mb:.0f}"))
        previous = now
    columns = ("trials", "s a trial since the row above", "driver ms of them", "driver MB")
    title = f"trials of {TRIAL_SECONDS} s on {psutil.cpu_count()} cores"
    record = {"rows": [dict(zip(columns, row, strict=True)) for row in rows]}
    show(record, [table(title, columns, rows)], as_json)


def watched(space: Path, folder: Path) -> list[Sample]:
    """Run the search in this process and take a sample every second."""
    samples: list[Sample] = []
    over = threading.Event()
    process, started = psutil.Process(), time.monotonic()

    def watch() -> None:
        ended, position = 0, 0
        while not over.wait(1.0):
            if not (folder / EVENTS).exists():
                continue
            with (folder / EVENTS).open("rb") as file:
                file.seek(position)
                ended += file.read().count(b'"event": "ended"')
                position = file.tell()
            times = process.cpu_times()
            used = process.memory_info().rss / 2**20
            elapsed = time.monotonic() - started
            samples.append(Sample(elapsed, ended, times.user + times.system, used))
            if ended and ended % 100 < 3:
                Console(stderr=True).print(f"{ended} trials, {elapsed:.0f} s, {used:.0f} MB")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    options = SearchOptions(wandb_mode="offline", train=sleeping)
    search(load_space(space), folder, Console(file=io.StringIO()), options)
    over.set()
    watcher.join()
    assert len([e for e in read_events(folder) if e["event"] == "ended"]) == samples[-1].ended
    return samples


if __name__ == "__main__":
    typer.run(main)
