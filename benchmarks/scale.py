"""Share of their time that workers train, by their number: where one driver is full.

    python -m benchmarks.scale

The processor time of the driver is measured for each proposal, report and end of a trial: the real
searcher, scheduler, study in SQLite and event log, without Ray. `--ray-ms` is what Ray and W&B
take besides for each trial, the difference to `python -m tests.chaos.many`. The search itself is
simulated: workers train for the seconds of an epoch, and the driver serves one event at a time,
each for one of the measured times. A worker waits from the end of its trial until the next one
is proposed.
"""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import typer
from rich.progress import track

from benchmarks.curves import SPACE
from benchmarks.measuring import AsJson, show, table
from tuning.algorithms.ray_searcher import OptunaSearcher, TrialPolicy
from tuning.records import CHECKPOINT, EPOCH, FINAL, OBJECTIVE, SECONDS, Listeners
from tuning.reporting.events import EventLog
from tuning.space.file import load_space
from tuning.study.ledger import Ledger
from tuning.study.run_folder import EVENTS, open_study

WORKERS = (16, 64, 128, 256, 512, 1024, 2048)
SECONDS_OF_TRIALS = (30.0, 120.0, 600.0)
_EPOCHS, _ROUNDS, _SPREAD = 10, 4, 0.3
_FULL = 0.9


@dataclass
class Costs:
    """Seconds of the driver, one value for each call."""

    proposal: list[float] = field(default_factory=list)
    report: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)

    def per_trial(self) -> float:
        """Return the seconds of a whole trial."""
        return float(np.mean(self.proposal) + _EPOCHS * np.mean(self.report) + np.mean(self.end))


def measured(n_trials: int) -> Costs:
    """Run the driver's part of a search, and return what each call took."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    costs = Costs()
    space = load_space(SPACE, {"trials": n_trials})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = open_study(folder, space.header.name)
        listeners = Listeners([Ledger(study, time.monotonic), EventLog(folder / EVENTS)])
        searcher = OptunaSearcher(space, study, n_trials, listeners, lambda: None, TrialPolicy())
        for number in track(range(n_trials), description="measuring", transient=True):
            _run_trial(searcher, str(number), costs)
    return costs


def _run_trial(searcher: Any, trial_id: str, costs: Costs) -> None:
    marks = [time.process_time()]
    searcher.suggest(trial_id)
    marks.append(time.process_time())
    for epoch in range(1, _EPOCHS + 1):
        value = 0.5 + 0.1 * float(np.sin(int(trial_id) + epoch))
        final = epoch == _EPOCHS
        result = {EPOCH: epoch, OBJECTIVE: value, FINAL: final, SECONDS: 3.0, CHECKPOINT: epoch}
        searcher.on_trial_result(trial_id, result)
        marks.append(time.process_time())
    searcher.on_trial_complete(trial_id, result)
    marks.append(time.process_time())
    proposal, *reports, end = np.diff(marks)
    costs.proposal.append(proposal)
    costs.report.extend(reports)
    costs.end.append(end)


def utilisation(costs: Costs, workers: int, trial_seconds: float, ray_seconds: float) -> float:
    """Return the share of their time that workers train, once all of them have begun.

    Args:
        costs: Measured times of the driver.
        workers: Number of workers.
        trial_seconds: Mean seconds of a trial.
        ray_seconds: Further time of the driver for each trial.
    """
    rng = np.random.default_rng(0)
    driver = _Driver(costs, ray_seconds, rng)
    epoch_seconds = trial_seconds / _EPOCHS
    events: list[tuple[float, int, int]] = []  # time, worker, epoch that ends
    for worker in range(workers):
        heapq.heappush(events, (driver.proposes(0.0) + _epoch(rng, epoch_seconds), worker, 1))
    began = driver.free_at
    until = began + _ROUNDS * trial_seconds
    idle = 0.0
    while events[0][0] < until:
        now, worker, epoch = heapq.heappop(events)
        if epoch < _EPOCHS:
            driver.is_told(now)  # the worker does not wait for it
            following = now + _epoch(rng, epoch_seconds)
            heapq.heappush(events, (following, worker, epoch + 1))
            continue
        started = driver.proposes(driver.ends(now))
        if started > began:
            idle += min(started, until) - max(now, began)
        heapq.heappush(events, (started + _epoch(rng, epoch_seconds), worker, 1))
    return 1.0 - idle / (workers * (until - began))


def _epoch(rng: np.random.Generator, seconds: float) -> float:
    return float(seconds * rng.lognormal(-0.5 * _SPREAD**2, _SPREAD))


class _Driver:
    """Server of one event at a time."""

    def __init__(self, costs: Costs, ray_seconds: float, rng: np.random.Generator) -> None:
        self.free_at = 0.0
        self._costs, self._ray, self._rng = costs, ray_seconds, rng

    def proposes(self, now: float) -> float:
        """Return when a proposal is done that is asked for now; Ray starts its trial then."""
        return self._busy(now, self._draw(self._costs.proposal) + self._ray)

    def is_told(self, now: float) -> float:
        """Return when a report is dealt with."""
        return self._busy(now, self._draw(self._costs.report))

    def ends(self, now: float) -> float:
        """Return when the last report and the end of a trial are dealt with."""
        return self._busy(now, self._draw(self._costs.report) + self._draw(self._costs.end))

    def _draw(self, values: Sequence[float]) -> float:
        return values[int(self._rng.integers(len(values)))]

    def _busy(self, now: float, seconds: float) -> float:
        self.free_at = max(self.free_at, now) + seconds
        return self.free_at


def main(
    trials: Annotated[int, typer.Option(help="Trials that the driver is measured with.")] = 300,
    ray_ms: Annotated[float, typer.Option(help="Time of Ray and W&B for each trial.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Print the share of time in training, by workers and seconds of a trial."""
    costs = measured(trials)
    ray = ray_ms / 1e3
    shares = {
        workers: [utilisation(costs, workers, seconds, ray) for seconds in SECONDS_OF_TRIALS]
        for workers in WORKERS
    }
    per_trial = costs.per_trial() + ray
    full = [_FULL * seconds / per_trial for seconds in SECONDS_OF_TRIALS]
    rows = [(f"{workers:,}", *(f"{share:.0%}" for share in of)) for workers, of in shares.items()]
    rows.append(("driver is 90 % busy at", *(f"{workers:,.0f}" for workers in full)))
    columns = ("workers", *(f"trials of {seconds:.0f} s" for seconds in SECONDS_OF_TRIALS))
    title = (
        f"driver: {1e3 * per_trial:.0f} ms a trial of {_EPOCHS} epochs, {ray_ms:.0f} of Ray and W&B"
    )
    record = {"driver_ms": 1e3 * per_trial, "shares": shares, "full": full}
    show(record, [table(title, columns, rows)], as_json)


if __name__ == "__main__":
    typer.run(main)
