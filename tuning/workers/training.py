"""Training of one trial: resumed, reported epoch by epoch, and written to its files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import BundleError
from quantum_rerank.records import checked
from quantum_rerank.training.checkpoint_file import SAVING_SHARE, SaveThrottle
from quantum_rerank.training.trainer import EpochReport, Trainer
from quantum_rerank.training.trial_data import TrialData
from tuning.limits.concurrency import GIB
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
    WARM_UP_SAVED,
    WARNING,
)
from tuning.study.trial_files import BEST_EPOCH, PROGRESS
from tuning.workers.cost import CostName, cost_of
from tuning.workers.trial_context import TrialContext

Reporter = Callable[[dict[str, Any]], None]
_HISTORY: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(
    Annotated[list[dict[str, bool | int | float | str]], Field(min_length=1)]
)


@dataclass(frozen=True)
class TrialTask:
    """Training that a trial is to do.

    Attributes:
        config: Configuration to train.
        data: Data of the search.
        context: Files and metadata of the trial.
        cost: Cost that the search weighs against the objective; None for none.
    """

    config: ExperimentConfig
    data: TrialData
    context: TrialContext
    cost: CostName | None = None


def train_within(
    memory_gb: float, on_excess: Callable[[int], None], task: TrialTask, report: Reporter
) -> None:
    """Train under a memory watchdog, and add time and peak memory to every report.

    Args:
        memory_gb: Memory budget of the trial, in GiB.
        on_excess: Called from a thread with the bytes in use once they exceed the budget.
        task: Training to do.
        report: Called with the metrics of every epoch.
    """
    started = time.monotonic()
    with MemoryWatchdog(int(memory_gb * GIB), TrialMemory(), on_excess) as watchdog:

        def measured(metrics: dict[str, Any]) -> None:
            measurements = {
                SECONDS: round(time.monotonic() - started, 2),
                PEAK_RSS_MB: round(watchdog.peak / 2**20, 1),
            }
            report({**metrics, **measurements})

        train(task, measured)


def train(task: TrialTask, report: Reporter) -> None:
    """Train on one thread, report every epoch, and write the best weights and checkpoints.

    Epochs that were trained before a worker was lost are not trained again but reported again,
    so that the scheduler, the study and W&B receive all of them. A clone reports the epochs
    after its donor's. The last report has the cost of the model, where the search has one.

    Args:
        task: Training to do.
        report: Called with the metrics of every epoch.
    """
    import torch

    torch.set_num_threads(1)
    _Training(task, report).run()


class _Training:
    """State of a trial's training."""

    def __init__(self, task: TrialTask, report: Reporter) -> None:
        from quantum_rerank.training.hybrid_trainer import make_trainer

        self._task, self._report = task, report
        self._trainer = make_trainer(task.config, task.data, task.context.warm_ups)
        self._origin = task.context.made_by(task.config)
        self._history, self._unreadable = restored(self._trainer, task)

    def run(self) -> None:
        """Report what was trained before, then train the epochs that are left."""
        if self._history:
            self._write_best()
        for metrics in self._history:
            self._report(metrics)
        previous_seconds = self._history[-1][TRAINING_SECONDS] if self._history else 0.0
        restart = self._restart()
        saving = SaveThrottle(SAVING_SHARE)
        for epoch, seconds in timed(self._trainer.epochs()):
            if epoch.improved:
                self._write_best()
            training_seconds = round(previous_seconds + seconds, 3)
            metrics = self._metrics(epoch, training_seconds) | restart | self._saved()
            self._history.append(metrics)
            self._write_checkpoint(epoch.epoch, saving)
            self._report(metrics)

    def _restart(self) -> dict[str, str]:
        """Return the entry of reports that says why a clone starts from scratch, if it does."""
        if not self._history:
            return cloned(self._trainer, self._task.context)
        last = self._history[-1]
        return {RESTARTED: last[RESTARTED]} if RESTARTED in last else {}

    def _saved(self) -> dict[str, float]:
        """Return the entry of reports that says what a shared warm-up has saved, if it has."""
        if self._history:
            last = self._history[-1]
            return {WARM_UP_SAVED: last[WARM_UP_SAVED]} if WARM_UP_SAVED in last else {}
        saved = self._trainer.warm_up_saved
        return {} if saved is None else {WARM_UP_SAVED: saved}

    def _metrics(self, epoch: EpochReport, training_seconds: float) -> dict[str, Any]:
        metrics: dict[str, Any] = {
            EPOCH: epoch.epoch,
            FINAL: epoch.final,
            TRAINING_SECONDS: training_seconds,
            CHECKPOINT: self._trainer.best.epoch if self._trainer.best else 0,
            **epoch.metrics,
        }
        if warnings := [text for text in (self._unreadable, epoch.warning) if text]:
            metrics[WARNING] = "; ".join(warnings)
        self._unreadable = ""
        if self._task.cost and epoch.final:
            head = self._trainer.model.head
            metrics[COST] = cost_of(head, self._task.cost, self._task.data.embedding_dim)
        return metrics

    def _write_best(self) -> None:
        from quantum_rerank.training.best_model import best_model_bytes

        task, best = self._task, self._trainer.best
        assert best is not None
        content = best_model_bytes(best, task.config, task.data.embedding_dim, self._origin)
        task.context.files.write(task.context.number, BEST_EPOCH, content)

    def _write_checkpoint(self, epoch: int, saving: SaveThrottle) -> None:
        """Write a checkpoint if it is time for one, or if clones may start from this epoch."""
        from quantum_rerank.training.checkpoint import MADE_BY, checkpoint_bytes

        context = self._task.context
        donates = epoch in context.donates_at
        with saving as is_due:
            if is_due or donates:
                record = {MADE_BY: {**self._origin, "epoch": epoch}, "history": self._history}
                content = checkpoint_bytes(self._trainer, record)
                context.files.write(context.number, PROGRESS, content)
        if donates:
            context.donate(epoch, content)


def restored(trainer: Trainer, task: TrialTask) -> tuple[list[dict[str, Any]], str]:
    """Resume from the newest checkpoint of this configuration that can be read.

    Args:
        trainer: Trainer that has not trained.
        task: Training to resume.

    Returns:
        The reports until the checkpoint, empty if there is none; and why a newer checkpoint was
        passed over, empty if none was.
    """
    from quantum_rerank.training.checkpoint import restore

    unreadable = ""
    for number, content in task.context.checkpoints():
        try:
            history = _recorded_history(content)
            restore(trainer, content, task.context.made_by(task.config, number))
        except (BundleError, ValueError) as error:  # cut off, altered, or of another training
            unreadable = f"later progress was lost: {error}"
            continue
        return history, unreadable
    return [], unreadable


def _recorded_history(content: bytes) -> list[dict[str, Any]]:
    """Return the reports in a checkpoint; ValueError if they are not what was written."""
    from quantum_rerank.training.checkpoint import record_of

    history = checked(_HISTORY, record_of(content).get("history"), "history")
    if not all(metrics.keys() >= {EPOCH, FINAL, TRAINING_SECONDS} for metrics in history):
        raise ValueError("the checkpoint was altered: a report of its history is not complete")
    return history


def cloned(trainer: Trainer, context: TrialContext) -> dict[str, str]:
    """Let a clone start from its donor's weights.

    Args:
        trainer: Trainer that has not trained.
        context: Files and metadata of the trial.

    Returns:
        The entry of reports that says why the clone starts from scratch; empty if it does not.
    """
    from quantum_rerank.training.checkpoint import take_over

    donor = context.metadata.donor
    if donor is None:
        return {}
    why = f"trial {donor.configuration} left nothing of epoch {donor.epoch}"
    origin = {"run": context.run, **donor._asdict()}
    for content in context.inheritance():
        try:
            take_over(trainer, content, origin)
        except BundleError as error:
            why = str(error)
            continue
        return {}
    return {RESTARTED: why}


def timed(epochs: Iterator[EpochReport]) -> Iterator[tuple[EpochReport, float]]:
    """Yield each epoch with the seconds of training so far, without those of the caller."""
    spent = 0.0
    while True:
        started = time.monotonic()
        report = next(epochs, None)
        spent += time.monotonic() - started
        if report is None:
            return
        yield report, spent
