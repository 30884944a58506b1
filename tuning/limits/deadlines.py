"""Who has not reported for too long: a trial that hangs ends though it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantum_rerank.config import ExperimentConfig
from tuning.records import Clock, TrialEnd


class Deadlines:
    """A listener that tells which trials are over their time.

    trial_hours: of a trial as a whole.  epoch_minutes: between two reports, the first of
        which has a worker's start and the warm-up before it. None: no limit.
    """

    def __init__(
        self, trial_hours: float | None, epoch_minutes: float | None, clock: Clock
    ) -> None:
        self._trial_hours, self._epoch_minutes = trial_hours, epoch_minutes
        self._clock = clock
        self._started: dict[int, float] = {}
        self._heard: dict[int, float] = {}
        self._looked: dict[int, float] = {}

    def overdue(self, number: int, runs: bool) -> str:
        """Why a trial has to end, or nothing; one that waits for its worker has all its time."""
        now = self._clock()
        if not runs:  # nor does it later lose the time in which others went first
            started = self._started.get(number, now)
            self._started[number] = started + now - self._looked.get(number, started)
            self._heard[number] = now
        self._looked[number] = now
        hours, minutes = self._trial_hours, self._epoch_minutes
        if hours and now - self._started.get(number, now) > hours * 3600.0:
            return f"timeout: longer than {hours:g} h"
        if minutes and now - self._heard.get(number, now) > minutes * 60.0:
            return f"timeout: no epoch ended within {minutes:g} min"
        return ""

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        self._started[number] = self._heard[number] = self._clock()

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        self._heard[number] = self._clock()

    def trial_ended(self, end: TrialEnd) -> None:
        self._started.pop(end.number, None)
        self._heard.pop(end.number, None)
        self._looked.pop(end.number, None)
