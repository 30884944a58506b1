"""Events of a search, and the listeners that follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantum_rerank.config import ExperimentConfig
from tuning.records.states import Failure, TrialOutcome


@dataclass(frozen=True)
class TrialEnd:
    """End of a trial.

    Attributes:
        number: Number of the trial in the study.
        outcome: Outcome of the trial.
        epoch: Last epoch that the trial reported; 0 for none.
        objective: Last objective; None where the trial reported no finite one.
        failure: Reason for which the trial failed; None for any other outcome.
        metrics: Last report of the trial.
    """

    number: int
    outcome: TrialOutcome
    epoch: int
    objective: float | None
    failure: Failure | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_cut_short(self) -> bool:
        """Return whether something other than the configuration ended the trial."""
        return self.failure is not None and self.failure.kind.is_cut_short


@dataclass(frozen=True)
class TrainingsState:
    """Trainings of the conclusion at one moment.

    Attributes:
        purpose: What they are for, as a heading.
        n_all: Number of trainings.
        n_ended: Number of those that have ended.
        n_running: Number of those that run.
        share: Share of the work that is done, from 0 to 1.
        seconds: Seconds since they were started.
        core_seconds: Seconds that they have run on a core each since the last state.
    """

    purpose: str
    n_all: int
    n_ended: int
    n_running: int
    share: float
    seconds: float
    core_seconds: float = 0.0


class Listener:
    """Follower of a search; a subclass overrides the events that it needs."""

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Handle the proposal of a trial."""

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Handle the report that a trial made after an epoch."""

    def trial_ended(self, end: TrialEnd) -> None:
        """Handle the end of a trial, which the study holds already."""

    def trainings_ran(self, state: TrainingsState) -> None:
        """Handle the state of the conclusion's trainings, about twice a second."""


class Listeners(Listener):
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Pass the event on to every listener."""
        for listener in self._listeners:
            listener.trial_started(number, config)

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Pass the event on to every listener."""
        for listener in self._listeners:
            listener.trial_reported(number, epoch, metrics)

    def trial_ended(self, end: TrialEnd) -> None:
        """Pass the event on to every listener."""
        for listener in self._listeners:
            listener.trial_ended(end)

    def trainings_ran(self, state: TrainingsState) -> None:
        """Pass the event on to every listener."""
        for listener in self._listeners:
            listener.trainings_ran(state)
