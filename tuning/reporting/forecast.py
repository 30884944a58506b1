"""Forecast of the time that a search still takes.

The work left is that of the trials to come and of the running ones: as many epochs as the
shares of trials that continued after each epoch let expect, at the seconds that epochs took. It is
spread over the trials that run at once. The trainings of the conclusion, which confirm the best
trials and train the baselines, come after them. Early trials that nothing has stopped yet make
the forecast too long rather than too short.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from tuning.records import EPOCH
from tuning.reporting.events import Event
from tuning.space import Header
from tuning.study import attributes
from tuning.study.trials import last_epoch
from tuning.study.view import StudyView

_N_BASELINES = 3  # that are trained for epochs at most, see `conclusion.baselines`


@dataclass(frozen=True)
class TrialExtent:
    """Last epoch that a trial has reached, and whether it ended there for good."""

    epoch: int
    has_ended: bool


@dataclass(frozen=True)
class Pace:
    """Seconds of a trial's first epoch, with its start and warm-up, and of a later epoch."""

    first: float
    later: float


@dataclass(frozen=True)
class TimeLeft:
    """Seconds and core-seconds that the budgets of a search leave."""

    seconds: float
    core_seconds: float


@dataclass(frozen=True)
class ConclusionWork:
    """Trainings of the conclusion, which no rule stops: their number, and the epochs of each."""

    n_trainings: int = 0
    epochs: float = 0.0


@dataclass(frozen=True)
class Workload:
    """Trials that a search has still to run.

    Attributes:
        n_to_come: Trials that have not started.
        running: Last epoch of each running trial, and the seconds since it was reported.
        at_once: Trials that run side by side.
        conclusion: Trainings of the conclusion.
    """

    n_to_come: int
    running: Sequence[tuple[int, float]]
    at_once: int
    conclusion: ConclusionWork = ConclusionWork()


@dataclass(frozen=True)
class Forecast:
    """Forecast of what is left of a search.

    Attributes:
        seconds: Until the search ends.
        core_seconds: Of all trainings.
        at_once: Trials that run side by side.
        by_budget: Whether a budget ends the search before its trials are done.
    """

    seconds: float
    core_seconds: float
    at_once: int
    by_budget: bool


@dataclass
class Timeline:
    """Time at which a trial started, and times at which it reported epochs, in seconds."""

    started: float
    reports: list[tuple[float, int]] = field(default_factory=list)


def shares_going_on(extents: Collection[TrialExtent], max_epochs: int) -> list[float]:
    """Return the shares of trials that continued after epoch 1, 2, ..., max_epochs - 1.

    A trial that runs, or was cut short, continued after every epoch that it has reached, so that
    slow trials count while they run (Kaplan and Meier, J. Am. Stat. Assoc. 1958). The share is
    1.0 at an epoch that no trial has reached: nothing is known to stop it there.

    Args:
        extents: Trials so far.
        max_epochs: Epochs of a trial at most.

    >>> ended = [TrialExtent(1, True), TrialExtent(1, True), TrialExtent(3, True)]
    >>> shares_going_on([*ended, TrialExtent(2, False)], 4)
    [0.5, 1.0, 0.0]
    """
    shares = []
    for epoch in range(1, max_epochs):
        n_reached = sum(extent.epoch >= epoch for extent in extents)
        n_stopped = sum(extent.has_ended and extent.epoch == epoch for extent in extents)
        shares.append(1.0 - n_stopped / n_reached if n_reached else 1.0)
    return shares


def extents_of(view: StudyView) -> list[TrialExtent]:
    """Return the extents of trials; an attempt belongs to the one that continues it."""
    ended, continued = {trial.number for trial in view.finished()}, view.superseded()
    return [
        TrialExtent(last_epoch(trial), trial.number in ended)
        for trial in view
        if trial.number not in continued
    ]


def conclusion_work(header: Header, extents: Collection[TrialExtent]) -> ConclusionWork:
    """Return the trainings that are expected of the conclusion of a search.

    In the race over fresh seeds each of the best trials is trained on two seeds, and on average
    one of them on every further seed. The baselines come after it. All of them train as many
    epochs as the trials that went on longest.

    Args:
        header: Settings of the search.
        extents: Trials so far.
    """
    n_best, n_seeds = header.top_k, header.confirm_seeds
    n_confirmed = min(n_seeds, 2) * n_best + max(n_seeds - 2, 0) if n_best > 1 else 0
    longest = sorted((extent.epoch for extent in extents if extent.has_ended), reverse=True)
    epochs = fmean(longest[:n_best]) if longest else float(header.budget.epochs)
    return ConclusionWork(n_confirmed + _N_BASELINES, epochs)


def expected_epochs(shares: Sequence[float], epoch: int = 0) -> float:
    """Return the epochs that a trial still trains, on average.

    Half of the trials stop after epoch 1, the others have all 3: (1 + 3) / 2.

    Args:
        shares: See `shares_going_on`.
        epoch: Last epoch of the trial.

    >>> expected_epochs([0.5, 1.0])
    2.0
    """
    if epoch > len(shares):
        return 0.0
    more = 0.0
    for share in reversed(shares[epoch:]):
        more = share * (1.0 + more)
    return 1.0 + more


def timelines(events: Iterable[Event]) -> dict[int, Timeline]:
    """Return trial -> its timeline, from the events of a run."""
    lines: dict[int, Timeline] = {}
    for event in events:
        if event.trial is None:
            continue
        seconds = event.time.timestamp()
        if event.kind == "started":
            lines[event.trial] = Timeline(seconds)
        elif event.kind == "reported" and event.trial in lines and EPOCH in event.facts:
            lines[event.trial].reports.append((seconds, int(event.facts[EPOCH])))
    return lines


def measured_pace(lines: Mapping[int, Timeline], continuing: Collection[int]) -> Pace | None:
    """Return the average seconds of epochs; None before the first one.

    Args:
        lines: Trial -> its timeline.
        continuing: Trials that report epochs of earlier attempts again, all at once.
    """
    reported = [line for n, line in lines.items() if line.reports and n not in continuing]
    if not reported:
        return None
    first = sum(line.reports[0][0] - line.started for line in reported) / len(reported)
    spans = [(line.reports[0], line.reports[-1]) for line in reported]
    n_epochs = sum(end[1] - start[1] for start, end in spans)
    seconds = sum(end[0] - start[0] for start, end in spans)
    return Pace(first, seconds / n_epochs if n_epochs > 0 else first)


def continuing_trials(view: StudyView) -> set[int]:
    """Return the trials that continue earlier attempts."""
    return {trial.number for trial in view if attributes.continues(trial) is not None}


def most_at_once(events: Iterable[Event], since: float) -> int:
    """Return the most trials that ran side by side.

    Args:
        events: Events of a run.
        since: Time in seconds since the epoch; trials that started before it do not count.
    """
    running: set[int | None] = set()
    most = 0
    for event in events:
        if event.kind == "started" and event.time.timestamp() >= since:
            running.add(event.trial)
        elif event.kind == "ended":
            running.discard(event.trial)
        most = max(most, len(running))
    return most


def forecast(work: Workload, shares: Sequence[float], pace: Pace, left: TimeLeft) -> Forecast:
    """Return what is left of a search, within its budgets.

    Two trials to come of 2 epochs (60 s and 30 s) each, and one with an epoch to go that began
    10 s ago: 90 + 90 + 20 = 200 s of work, for two at once.

    Args:
        work: Trials that are left.
        shares: See `shares_going_on`.
        pace: Seconds of epochs.
        left: Time that the budgets leave.

    >>> work = Workload(n_to_come=2, running=[(2, 10.0)], at_once=2)
    >>> forecast(work, [0.5, 1.0], Pace(60.0, 30.0), TimeLeft(3600.0, 7200.0))
    Forecast(seconds=100.0, core_seconds=200.0, at_once=2, by_budget=False)
    """
    remaining = [
        max(_seconds(shares, epoch, pace) - waited, 0.0) for epoch, waited in work.running
    ] + work.n_to_come * [_seconds(shares, 0, pace)]
    total = sum(remaining)
    # The last trial shares its work with no other.
    seconds = max(total / work.at_once, max(remaining, default=0.0))
    if n_trainings := work.conclusion.n_trainings:
        training = pace.first + pace.later * (work.conclusion.epochs - 1.0)
        seconds += training * math.ceil(n_trainings / work.at_once)
        total += training * n_trainings
    limit = min(left.seconds, left.core_seconds / work.at_once)
    core_seconds = min(total, left.core_seconds)
    return Forecast(min(seconds, limit), core_seconds, work.at_once, seconds > limit)


def _seconds(shares: Sequence[float], epoch: int, pace: Pace) -> float:
    """Return the seconds of a trial that trains the epoch after `epoch`."""
    epochs = expected_epochs(shares, epoch)
    return pace.later * epochs if epoch else pace.first + pace.later * (epochs - 1.0)
