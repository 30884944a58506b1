"""The adapter: one trial, `for report in trainer.epochs(): tune.report(...)`."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import BundleError, FilesError
from quantum_rerank.training.checkpoint_file import SAVING_SHARE, SaveThrottle
from quantum_rerank.training.trainer import EpochReport, Trainer
from quantum_rerank.training.trial_data import TrialData
from tuning.limits.budgets import GB, MemoryWatchdog
from tuning.limits.failures import failure_reason, memory_excess
from tuning.limits.memory import TrialMemory, give_back, kill_descendants
from tuning.records import (
    CHECKPOINT,
    COST,
    DONOR,
    EARLIER,
    EPOCH,
    FAILURE,
    FINAL,
    METADATA_KEYS,
    NUMBER,
    OBJECTIVE,
    ORIGIN,
    PEAK_RSS_MB,
    RESTARTED,
    SECONDS,
    SPENT,
    TRAINING_SECONDS,
    WARNING,
)
from tuning.space import Space
from tuning.workers.cost import Against, cost_of
from tuning.workers.trial_files import BEST_EPOCH, DONORS, PROGRESS, TrialFiles, donated

OUT_OF_MEMORY_EXIT_CODE = 137
DEATH_NOTE, TRACEBACK = "death.json", "traceback.txt"

Reporter = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrialLimits:
    """What a trial may use."""

    memory_gb: float


def run_trial(
    params: dict[str, Any],
    space: Space,
    data: TrialData,
    limits: TrialLimits,
    files: str,
    run: str = "",
) -> None:
    """Train one suggestion under Ray Tune; `files` is the root of `TrialFiles`.

    run: the identifier of the run, which is written into the trial's files.

    An error of the trial's own is reported as its failure and ends it alone. A
    worker above its memory budget leaves a note and exits, which frees the
    memory at once. A worker that takes over from another, in this search or in
    one that was continued, goes on from the last progress that was written down.
    """
    from ray import tune

    give_back()  # what the trial before left in this worker
    place = TrialContext(
        TrialFiles(files),
        int(params[NUMBER]),
        tuple(params[EARLIER]),
        params[DONOR],
        space.perturbation_epochs(),
        run,
    )
    suggested = {key: value for key, value in params.items() if key not in METADATA_KEYS}
    last: dict[str, Any] = {EPOCH: 0}

    def report(metrics: dict[str, Any]) -> None:
        if SECONDS in metrics:
            metrics = {**metrics, SECONDS: round(metrics[SECONDS] + params.get(SPENT, 0.0), 2)}
        last.update(metrics)
        tune.report(metrics)

    def on_excess(used: int) -> None:
        try:
            place.leave_death_note(used, limits.memory_gb)
            kill_descendants(os.getpid())
        finally:
            # Not an exception: a thread cannot raise one in another that sits in an allocation.
            os._exit(OUT_OF_MEMORY_EXIT_CODE)

    try:
        config = space.config_for(suggested, params[ORIGIN])
        against = space.header.objective.cost
        train_within(limits.memory_gb, on_excess, config, data, report, place, against)
    except Exception as error:
        reason = failure_reason(error)
        with suppress(FilesError):  # maybe it was this that failed
            place.files.write(place.number, TRACEBACK, traceback.format_exc().encode())
    else:
        return
    tune.report({**last, FINAL: False, OBJECTIVE: float("nan"), FAILURE: reason})


@dataclass(frozen=True)
class TrialContext:
    """Where a trial keeps its files, and the numbers of the attempts before it.

    donor: configuration and epoch whose weights it starts from, if it is a clone.
    donates_at: epochs after which others may start from its weights.
    run: the identifier of the run.
    """

    files: TrialFiles
    number: int
    earlier: Sequence[int] = ()
    donor: Sequence[int] | None = None
    donates_at: Container[int] = ()
    run: str = ""

    @property
    def origin(self) -> int:
        """The number of the first attempt: its configuration's name."""
        return self.earlier[-1] if self.earlier else self.number

    def made_by(self, config: ExperimentConfig, number: int | None = None) -> dict[str, Any]:
        """Return the origin that the files of this trial, or of an earlier attempt, name."""
        from quantum_rerank.training.checkpoint import settings_fingerprint

        trial = self.number if number is None else number
        settings = {"settings": settings_fingerprint(config)}
        return made_by(self.run, trial, self.origin) | settings

    def donate(self, epoch: int, content: bytes) -> None:
        """Keep a training as it is now for those that may clone it."""
        self.files.below(DONORS).write(self.origin, donated(epoch), content)

    def inheritance(self) -> Iterator[bytes]:
        """What the donor left at its epoch."""
        if self.donor:
            configuration, epoch = self.donor
            yield from self.files.below(DONORS).versions(configuration, donated(epoch))

    def leave_death_note(self, used: int, memory_gb: float) -> None:
        """Write why a worker is about to end itself, for the driver to read."""
        note = {FAILURE: memory_excess(used, memory_gb), PEAK_RSS_MB: round(used / 2**20, 1)}
        self.files.write(self.number, DEATH_NOTE, json.dumps(note).encode())

    def progress(self) -> Iterator[tuple[int, bytes]]:
        """Return the saved progress of this configuration's training, and its attempt.

        The newest comes first.
        """
        for number in (self.number, *self.earlier):
            for content in self.files.versions(number, PROGRESS):
                yield number, content


def made_by(run: str, trial: int, configuration: int) -> dict[str, Any]:
    """Return the origin that a trial's files name.

    run: the identifier of the run.  trial: its number.  configuration: the number of the first
    attempt at it.
    """
    return {"run": run, "trial": trial, "configuration": configuration}


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


def read_death_note(files: TrialFiles, number: int) -> dict[str, Any]:
    """Why a trial's worker ended itself, and its peak memory; empty if it left no note."""
    for content in files.versions(number, DEATH_NOTE):
        try:
            return dict(json.loads(content))
        except ValueError:  # cut off, with the machine: as if there were none
            continue
    return {}
