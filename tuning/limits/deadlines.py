"""Deadlines of trials: one that hangs is ended though it reports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantum_rerank.config import ExperimentConfig
from tuning.records import Clock, Failure, FailureKind, Listener, TrialEnd


@dataclass(frozen=True)
class TimeLimits:
    """Limits of the time of a training.

    Attributes:
        trial_hours: Limit of the training as a whole; None for none.
        epoch_minutes: Limit between two reports; the first one includes the start of the worker
            and the warm-up. None for no limit.
    """

    trial_hours: float | None = None
    epoch_minutes: float | None = None

    def exceeded(self, seconds: float, epoch_seconds: float) -> Failure | None:
        """Return the failure of a training that has exceeded its time.

        Args:
            seconds: Time since its start.
            epoch_seconds: Time since its last report.

        >>> str(TimeLimits(epoch_minutes=2.0).exceeded(500.0, 121.0))
        'timeout: no epoch ended within 2 min'
        """
        hours, minutes = self.trial_hours, self.epoch_minutes
        if hours and seconds > hours * 3600.0:
            return Failure(FailureKind.TIMEOUT, f"longer than {hours:g} h")
        if minutes and epoch_seconds > minutes * 60.0:
            return Failure(FailureKind.TIMEOUT, f"no epoch ended within {minutes:g} min")
        return None


class Deadlines(Listener):
    """Listener that knows which trials have exceeded their time.

    Args:
        limits: Limits of each trial.
        clock: Seconds.
    """

    def __init__(self, limits: TimeLimits, clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._started: dict[int, float] = {}
        self._reported: dict[int, float] = {}
        self._checked: dict[int, float] = {}

    def overdue(self, number: int, is_running: bool) -> Failure | None:
        """Return the failure of a trial that has exceeded its time.

        Args:
            number: Number of the trial.
            is_running: Whether it has a worker; the time of a trial that waits for one does
                not count, neither before its first epoch nor while it lets others run.
        """
        now = self._clock()
        if not is_running:
            started = self._started.get(number, now)
            self._started[number] = started + now - self._checked.get(number, started)
            self._reported[number] = now
        self._checked[number] = now
        started, reported = self._started.get(number, now), self._reported.get(number, now)
        return self._limits.exceeded(now - started, now - reported)

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Start the time of a trial."""
        self._started[number] = self._reported[number] = self._clock()

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Start the time of the next epoch."""
        self._reported[number] = self._clock()

    def trial_ended(self, end: TrialEnd) -> None:
        """Forget a trial."""
        self._started.pop(end.number, None)
        self._reported.pop(end.number, None)
        self._checked.pop(end.number, None)
