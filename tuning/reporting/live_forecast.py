"""Forecast of a running search, from the events that its listeners receive."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from quantum_rerank.config import ExperimentConfig
from tuning.records import Clock, Listener, TrialEnd
from tuning.reporting.forecast import (
    Forecast,
    TimeLeft,
    Timeline,
    Workload,
    conclusion_work,
    continuing_trials,
    extents_of,
    forecast,
    measured_pace,
    shares_going_on,
)
from tuning.space import Header
from tuning.study.view import StudyView

_EARLY = 0.25  # share of the trials after which the forecast is kept, to be compared at the end


class LiveForecast(Listener):
    """Listener that forecasts the time left.

    Args:
        header: Settings of the search.
        view: Returns the study as it is now.
        elapsed: Returns the seconds of the search so far.
        core_seconds: Returns the core-seconds of its trials so far.
        clock: Seconds.
    """

    def __init__(
        self,
        header: Header,
        view: Callable[[], StudyView],
        elapsed: Callable[[], float],
        core_seconds: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._header, self.budget, self.elapsed = header, header.budget, elapsed
        self._view, self._core_seconds, self._clock = view, core_seconds, clock
        self._lines: dict[int, Timeline] = {}
        self._running: set[int] = set()
        self._most_at_once = 0
        self._may_propose = True
        self._early: float | None = None
        self._read_study()
        self._n_before = self.n_finished

    def _read_study(self) -> None:
        self._is_stale = False
        study = self._view()
        self.n_finished = len(study.finished())
        """Number of trials that the budget counts."""
        self._continuing = continuing_trials(study)
        extents = extents_of(study)
        self._shares = shares_going_on(extents, self.budget.epochs)
        self._conclusion = conclusion_work(self._header, extents)

    def seconds_left(self) -> float:
        """Return the seconds that the time budget leaves."""
        return max(self.budget.hours * 3600.0 - self.elapsed(), 0.0)

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Start the timeline of a trial."""
        self._is_stale = True  # reading takes time in a large study, and nothing is shown now
        self._lines[number] = Timeline(self._clock())
        self._running.add(number)
        self._most_at_once = max(self._most_at_once, len(self._running))

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Add an epoch to the timeline of a trial."""
        self._lines[number].reports.append((self._clock(), epoch))

    def trial_ended(self, end: TrialEnd) -> None:
        """End the timeline of a trial."""
        self._read_study()
        self._running.discard(end.number)
        is_early = self._early is None and self._n_before == 0
        if is_early and self.n_finished >= _EARLY * self.budget.trials and (estimate := self()):
            self._early = self.elapsed() + estimate.seconds

    def expect_no_further_trial(self) -> None:
        """Leave out the trials that the budget would allow, since none is proposed any more."""
        self._may_propose = False

    def early_estimate(self) -> float | None:
        """Return the seconds that the whole search was expected to take early on.

        The forecast is kept once a quarter of the trials have finished, in a search of one
        session; None otherwise.
        """
        return self._early

    def __call__(self) -> Forecast | None:
        """Return the forecast; None before the first epoch of this session."""
        if self._is_stale:
            self._read_study()
        pace = measured_pace(self._lines, self._continuing)
        if pace is None:
            return None
        n_taken = self.n_finished + len(self._running)
        work = Workload(
            n_to_come=max(self.budget.trials - n_taken, 0) if self._may_propose else 0,
            running=[self._last_report(number) for number in sorted(self._running)],
            at_once=self._most_at_once,
            conclusion=self._conclusion,
        )
        left = TimeLeft(self.seconds_left(), self._core_left())
        return forecast(work, self._shares, pace, left)

    def _last_report(self, number: int) -> tuple[int, float]:
        """Return the last epoch of a running trial, and the seconds since it was reported."""
        line = self._lines[number]
        time, epoch = line.reports[-1] if line.reports else (line.started, 0)
        return epoch, max(self._clock() - time, 0.0)

    def _core_left(self) -> float:
        if not self.budget.core_hours:
            return math.inf
        return max(self.budget.core_hours * 3600.0 - self._core_seconds(), 0.0)
