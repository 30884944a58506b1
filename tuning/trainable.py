"""The adapter: one trial, `for report in trainer.epochs(): tune.report(...)`."""

from __future__ import annotations

import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DivergedError
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.trainer import EpochReport
from tuning.budgets import GB, MemoryWatchdog
from tuning.records import (
    EPOCH,
    FAILURE,
    FINAL,
    NUMBER,
    OBJECTIVE,
    PEAK_RSS_MB,
    SECONDS,
    TRAINING_SECONDS,
)
from tuning.space import Space

OUT_OF_MEMORY_EXIT_CODE = 137


@dataclass(frozen=True)
class TrialLimits:
    """What a trial may use, and where its worker says why it died."""

    memory_gb: float
    death_notes: Path


Reporter = Callable[[dict[str, Any], Path | None], None]


def run_trial(params: dict[str, Any], space: Space, data: TrialData, limits: TrialLimits) -> None:
    """Train one suggestion under Ray Tune.

    An error of the trial's own is reported as its failure and ends it alone. A
    worker above its memory budget leaves a note and exits, which frees the
    memory at once; Ray replaces it.
    """
    from ray import tune

    number = int(params[NUMBER])
    suggested = {key: value for key, value in params.items() if key != NUMBER}
    last: dict[str, Any] = {EPOCH: 0}

    def report(metrics: dict[str, Any], checkpoint: Path | None) -> None:
        last.update(metrics)
        folder = tune.Checkpoint.from_directory(str(checkpoint)) if checkpoint else None
        tune.report(metrics, checkpoint=folder)

    def on_excess(used: int) -> None:
        try:
            leave_death_note(limits, number, used)
        finally:
            # Not an exception: a thread cannot raise one in another that sits in an allocation.
            os._exit(OUT_OF_MEMORY_EXIT_CODE)

    try:
        config = space.config_for(suggested, number)
        train_within(limits.memory_gb, on_excess, config, data, report)
    except Exception as error:
        (limits.death_notes / f"{number:05d}.traceback.txt").write_text(traceback.format_exc())
        reason = failure_reason(error)
    else:
        return
    report({**last, FINAL: False, OBJECTIVE: float("nan"), FAILURE: reason}, None)


def failure_reason(error: Exception) -> str:
    """One line on why a trial failed, its kind first.

    >>> failure_reason(DivergedError("The loss became nan in a batch."))
    'nan: The loss became nan in a batch.'
    """
    if isinstance(error, DivergedError):
        return f"nan: {error}"
    if isinstance(error, MemoryError):
        return f"oom: {error or 'an allocation was refused'}"
    return f"error: {type(error).__name__}: {error}"


def train_within(
    memory_gb: float,
    on_excess: Callable[[int], None],
    config: ExperimentConfig,
    data: TrialData,
    report: Reporter,
) -> None:
    """Train under a memory watchdog; every report says what the trial has cost so far."""
    started = time.monotonic()
    with MemoryWatchdog(int(memory_gb * GB), resident_bytes, on_excess) as watchdog:

        def measured(metrics: dict[str, Any], checkpoint: Path | None) -> None:
            cost = {
                SECONDS: round(time.monotonic() - started, 2),
                PEAK_RSS_MB: round(watchdog.peak / 2**20, 1),
            }
            report({**metrics, **cost}, checkpoint)

        train(config, data, measured)


def train(config: ExperimentConfig, data: TrialData, report: Reporter) -> None:
    """Train on one thread, reporting every epoch, with the weights where it is the best."""
    import torch

    from quantum_rerank.training.checkpoint import save_checkpoint
    from quantum_rerank.training.hybrid_trainer import make_trainer

    torch.set_num_threads(1)
    trainer = make_trainer(config, data)
    for epoch, seconds in timed(trainer.epochs()):
        metrics = {
            EPOCH: epoch.epoch,
            FINAL: epoch.final,
            TRAINING_SECONDS: round(seconds, 3),
            **epoch.metrics,
        }
        if not epoch.improved:
            report(metrics, None)
            continue
        assert trainer.best is not None
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder), trainer.best, config, data.embedding_dim)
            report(metrics, Path(folder))


def timed(epochs: Iterator[EpochReport]) -> Iterator[tuple[EpochReport, float]]:
    """Each epoch's report, and the seconds that training has taken so far, the caller's apart."""
    spent = 0.0
    while True:
        started = time.monotonic()
        report = next(epochs, None)
        spent += time.monotonic() - started
        if report is None:
            return
        yield report, spent


def resident_bytes() -> int:
    """Resident memory of this process, what it shares with others included."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def read_death_note(folder: Path, number: int) -> dict[str, Any]:
    """Why a trial's worker ended itself, and its peak memory; empty if it left no note."""
    try:
        note = json.loads((folder / f"{number:05d}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(note)


def leave_death_note(limits: TrialLimits, number: int, used: int) -> None:
    """Write why a worker is about to end itself, for the driver to read."""
    note = {FAILURE: memory_excess(used, limits.memory_gb), PEAK_RSS_MB: round(used / 2**20, 1)}
    (limits.death_notes / f"{number:05d}.json").write_text(json.dumps(note), encoding="utf-8")


def memory_excess(used: int, memory_gb: float) -> str:
    """The reason of a trial that was above its memory budget.

    >>> memory_excess(9 * 2**30, 8)
    'oom: 9.00 GB resident, budget 8 GB'
    """
    return f"oom: {used / GB:.2f} GB resident, budget {memory_gb:g} GB"
