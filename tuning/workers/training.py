"""The training of one trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import BundleError
from quantum_rerank.training.checkpoint_file import SAVING_SHARE, SaveThrottle
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.trainer import EpochReport, Trainer
from tuning.limits.concurrency import GB
from tuning.limits.memory import TrialMemory
from tuning.limits.memory_watchdog import MemoryWatchdog
from tuning.records import (
    CHECKPOINT,
    COST,
    EPOCH,
    FINAL,
    PEAK_RSS_MB,
    RESTARTED,
    SECONDS,
    TRAINING_SECONDS,
    WARNING,
)
from tuning.study.trial_files import BEST_EPOCH, PROGRESS
from tuning.workers.cost import Against, cost_of
from tuning.workers.trial_context import TrialContext

Reporter = Callable[[dict[str, Any]], None]


def train_within(
    memory_gb: float,
    on_excess: Callable[[int], None],
    config: ExperimentConfig,
    data: TrialData,
    report: Reporter,
    place: TrialContext,
    against: Against | None = None,
) -> None:
    """Train under a memory watchdog; every report says what the trial has cost so far."""
    started = time.monotonic()
    with MemoryWatchdog(int(memory_gb * GB), TrialMemory(), on_excess) as watchdog:

        def measured(metrics: dict[str, Any]) -> None:
            cost = {
                SECONDS: round(time.monotonic() - started, 2),
                PEAK_RSS_MB: round(watchdog.peak / 2**20, 1),
            }
            report({**metrics, **cost})

        train(config, data, measured, place, against)


def train(
    config: ExperimentConfig,
    data: TrialData,
    report: Reporter,
    place: TrialContext,
    against: Against | None = None,
) -> None:
    """Train on one thread, reporting every epoch; the best weights and the progress are kept.

    What was trained before a worker was lost is not trained but reported again, so that
    whoever decides about the trial sees all of it. A clone reports the epochs after its donor's.
    The last report says what the model costs, if the search weighs its objective `against` that.
    """
    import torch

    from quantum_rerank.training.best_model import best_model_bytes
    from quantum_rerank.training.checkpoint import MADE_BY, checkpoint_bytes
    from quantum_rerank.training.hybrid_trainer import make_trainer

    maker = place.made_by(config)

    def keep_best() -> None:
        assert trainer.best is not None
        content = best_model_bytes(trainer.best, config, data.embedding_dim, maker)
        place.files.write(place.number, BEST_EPOCH, content)

    torch.set_num_threads(1)
    trainer = make_trainer(config, data)
    history, unreadable = restored(trainer, place, config)
    if history:
        keep_best()
    for metrics in history:
        report(metrics)
    before = history[-1][TRAINING_SECONDS] if history else 0.0
    aside = {} if history else cloned(trainer, place)
    if history and RESTARTED in history[-1]:
        aside = {RESTARTED: history[-1][RESTARTED]}
    saving = SaveThrottle(SAVING_SHARE)
    for epoch, seconds in timed(trainer.epochs()):
        if epoch.improved:
            keep_best()
        metrics = {
            EPOCH: epoch.epoch,
            FINAL: epoch.final,
            TRAINING_SECONDS: round(before + seconds, 3),
            CHECKPOINT: trainer.best.epoch if trainer.best else 0,
            **aside,
            **epoch.metrics,
        }
        if warnings := [why for why in (unreadable, epoch.warning) if why]:
            metrics[WARNING] = "; ".join(warnings)
        unreadable = ""
        if against and epoch.final:
            metrics[COST] = cost_of(trainer.model.head, against, data.embedding_dim)
        history.append(metrics)
        donates = epoch.epoch in place.donates_at
        with saving as due:
            if due or donates:
                said = {MADE_BY: {**maker, "epoch": epoch.epoch}, "history": history}
                content = checkpoint_bytes(trainer, said)
                place.files.write(place.number, PROGRESS, content)
        if donates:
            place.donate(epoch.epoch, content)
        report(metrics)


def restored(
    trainer: Trainer, place: TrialContext, config: ExperimentConfig
) -> tuple[list[dict[str, Any]], str]:
    """Take up the newest progress of this training that can be read.

    Returns: the reports made until then, or none; and why newer progress was passed over, or
        nothing.
    """
    from quantum_rerank.training.checkpoint import restore

    unreadable = ""
    for number, content in place.progress():
        try:
            record = restore(trainer, content, place.made_by(config, number))
            return list(record["history"]), unreadable
        except BundleError as error:  # cut off or another's: the one before it, or from the start
            unreadable = f"later progress was lost: {error}"
    return [], unreadable


def cloned(trainer: Trainer, place: TrialContext) -> dict[str, str]:
    """Let a clone start from its donor; why it starts over, if the donor left nothing whole."""
    from quantum_rerank.training.checkpoint import take_over

    if not place.donor:
        return {}
    configuration, epoch = place.donor
    why = f"trial {configuration} left nothing of epoch {epoch}"
    donor = {"run": place.run, "configuration": configuration, "epoch": epoch}
    for content in place.inheritance():
        try:
            take_over(trainer, content, donor)
        except BundleError as error:
            why = str(error)
            continue
        return {}
    return {RESTARTED: why}


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
