"""The adapter: one trial, `for report in trainer.epochs(): tune.report(...)`."""

from __future__ import annotations

import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DivergedError
from quantum_rerank.training.data_manager import TrialData
from tuning.budgets import GB, MemoryWatchdog
from tuning.records import EPOCH, FAILURE, FINAL, NUMBER, OBJECTIVE, PEAK_RSS_MB, SECONDS
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

    def report(metrics: dict[str, Any], checkpoint: Path | None) -> None:
        folder = tune.Checkpoint.from_directory(str(checkpoint)) if checkpoint else None
        tune.report(metrics, checkpoint=folder)

    started, epoch = time.monotonic(), 0
    with MemoryWatchdog(
        int(limits.memory_gb * GB),
        resident_bytes,
        lambda used: _die_of_memory(limits, number, used),
    ) as watchdog:

        def measured(metrics: dict[str, Any], checkpoint: Path | None) -> None:
            nonlocal epoch
            epoch = metrics[EPOCH]
            cost = {
                SECONDS: round(time.monotonic() - started, 2),
                PEAK_RSS_MB: round(watchdog.peak / 2**20, 1),
            }
            report({**metrics, **cost}, checkpoint)

        try:
            train(space.config_for(suggested, number), data, measured)
        except DivergedError as error:
            reason = f"nan: {error}"
        except MemoryError as error:
            reason = f"oom: {error or 'an allocation was refused'}"
        except Exception as error:
            (limits.death_notes / f"{number:05d}.traceback.txt").write_text(traceback.format_exc())
            reason = f"error: {type(error).__name__}: {error}"
        else:
            return
        measured({EPOCH: epoch, OBJECTIVE: float("nan"), FAILURE: reason}, None)


def train(config: ExperimentConfig, data: TrialData, report: Reporter) -> None:
    """Train on one thread, reporting every epoch, with the weights where it is the best."""
    import torch

    from quantum_rerank.training.checkpoint import save_checkpoint
    from quantum_rerank.training.hybrid_trainer import make_trainer

    torch.set_num_threads(1)
    trainer = make_trainer(config, data)
    for epoch in trainer.epochs():
        metrics = {EPOCH: epoch.epoch, FINAL: epoch.final, **epoch.metrics}
        if not epoch.improved:
            report(metrics, None)
            continue
        assert trainer.best is not None
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder), trainer.best, config, data.embedding_dim)
            report(metrics, Path(folder))


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


def _die_of_memory(limits: TrialLimits, number: int, used: int) -> None:
    reason = f"oom: {used / GB:.2f} GB resident, budget {limits.memory_gb:g} GB"
    note = limits.death_notes / f"{number:05d}.json"
    note.write_text(json.dumps({FAILURE: reason, PEAK_RSS_MB: round(used / 2**20, 1)}))
    # Not an exception: a thread cannot raise one in another that sits in an allocation.
    os._exit(OUT_OF_MEMORY_EXIT_CODE)
