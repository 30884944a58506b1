"""One session of a search as an object, and the options that it is started with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from quantum_rerank.training.trial_data import PreparedData
from tuning.algorithms.population import Population
from tuning.limits.concurrency import Concurrency
from tuning.limits.deadlines import Deadlines
from tuning.limits.early_end import EarlyEnd
from tuning.limits.expected_memory import MemoryRoom
from tuning.limits.stop_signal import StopSignal
from tuning.records import Clock, Listener
from tuning.reporting.events import EventLog
from tuning.reporting.progress import ProgressDisplay
from tuning.reporting.tracking import Mode, WandbTracker
from tuning.space import Space
from tuning.study.ledger import Ledger
from tuning.study.storage import PATIENCE_SECONDS, StorageConfig
from tuning.study.trial_files import TrialFiles
from tuning.study.view import StudyView
from tuning.study.warm_start import EarlierRun
from tuning.workers.arrivals import Arrivals
from tuning.workers.cluster import free_memory
from tuning.workers.trainable import run_trial


@dataclass(frozen=True)
class SearchOptions:
    """Options of a session, none of which changes what is searched.

    Attributes:
        address: Address of the Ray cluster to join; None to start one on this machine.
        wandb_mode: W&B mode.
        storage: Storage of a new run; a run that is resumed has it in its record.
        patience: Seconds to wait for study storage that is locked or unreachable.
        earlier: Runs whose results a new search takes over.
        clock: Seconds.
        free_memory: Returns the bytes that are free on this machine.
        train: Trains one trial in a worker, called as `trainable.run_trial`.
    """

    address: str | None = None
    wandb_mode: Mode = "disabled"
    storage: StorageConfig | None = None
    patience: float = PATIENCE_SECONDS
    earlier: Sequence[EarlierRun] = ()
    clock: Clock = time.monotonic
    free_memory: Callable[[], float] = free_memory
    train: Callable[..., None] = run_trial


@dataclass(frozen=True)
class Search:
    """One session of a search.

    Attributes:
        space: Space of the search.
        study: Study of the search.
        folder: Folder of the run.
        files: Files of its trials.
        prepared: Data of the search.
        concurrency: Trials at once.
        train: Trains one trial in a worker.
        stop_signal: Signal that ends the search.
        ledger: Cost of the search.
        events: Log of events.
        deadlines: Deadlines of trials.
        arrivals: Check for workers that do not start.
        display: Live display.
        tracker: Mirror in W&B.
        listener: All listeners as one.
        early_end: Rule after which no further trial is proposed.
        memory: Memory of this machine; None where trials are spread over a cluster.
        population: Population based training; None for any other scheduler.
    """

    space: Space
    study: optuna.Study
    folder: Path
    files: TrialFiles
    prepared: PreparedData
    concurrency: Concurrency
    train: Callable[..., None]
    stop_signal: StopSignal
    ledger: Ledger
    events: EventLog
    deadlines: Deadlines
    arrivals: Arrivals
    display: ProgressDisplay
    tracker: WandbTracker
    listener: Listener
    early_end: EarlyEnd
    memory: MemoryRoom | None = None
    population: Population | None = None

    def view(self) -> StudyView:
        """Return the study as it is now."""
        return StudyView.of(self.study)
