"""How long a search will still take, by how far its trials came and how fast they were.

The work left is that of the trials to come and of the running ones: as many epochs as the
shares of trials that went on from each epoch let expect, at the seconds that epochs took.
It is spread over the trials that run at once. The conclusion (test queries, baselines) comes
on top, and early trials that nothing has stopped yet make it too long rather than too short.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tuning.records import EPOCH
from tuning.reporting.events import Event


@dataclass(frozen=True)
class Course:
    """The last epoch that a trial came to, and whether it ended there for good."""

    epoch: int
    ended: bool


@dataclass(frozen=True)
class Pace:
    """Seconds of a trial's first epoch, its start and warm-up included, and of a later one."""

    first: float
    later: float


@dataclass(frozen=True)
class Forecast:
    """What is left of a search.

    seconds: until the last trial ends; core_seconds: of all trials; at_once: trials that run
    side by side; by_budget: whether a budget will end the search before its trials are done.
    """

    seconds: float
    core_seconds: float
    at_once: int
    by_budget: bool


@dataclass
class Timeline:
    """When a trial started, and when it reported which epoch."""

    started: datetime
    reports: list[tuple[datetime, int]] = field(default_factory=list)


def shares_going_on(courses: Collection[Course], max_epochs: int) -> list[float]:
    """Of the trials that came to epoch 1, 2, ..., max_epochs - 1, the shares that went on.

    A trial that runs, or was cut short, went on from every epoch that it has come to, so that
    those that take long are not forgotten while they do (Kaplan and Meier, J. Am. Stat. Assoc.
    1958). 1.0 where no trial has come to: nothing is known to stop it there.

    >>> shares_going_on([Course(1, True), Course(1, True), Course(2, False), Course(3, True)], 4)
    [0.5, 1.0, 0.0]
    """
    shares = []
    for epoch in range(1, max_epochs):
        came = sum(course.epoch >= epoch for course in courses)
        stopped = sum(course.ended and course.epoch == epoch for course in courses)
        shares.append(1.0 - stopped / came if came else 1.0)
    return shares


def expected_epochs(shares: Sequence[float], epoch: int = 0) -> float:
    """Epochs to come of a trial that is at work on the one after `epoch`; shares: see above.

    Half of the trials stop after epoch 1, the others have all 3: (1 + 3) / 2.

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
    """Number -> when a trial started and reported."""
    lines: dict[int, Timeline] = {}
    for event in events:
        if event.trial is None:
            continue
        if event.kind == "started":
            lines[event.trial] = Timeline(event.time)
        elif event.kind == "reported" and event.trial in lines and EPOCH in event.facts:
            lines[event.trial].reports.append((event.time, int(event.facts[EPOCH])))
    return lines


def measured_pace(lines: Mapping[int, Timeline], continuing: Collection[int]) -> Pace | None:
    """How long epochs took on average; None before the first one.

    continuing: trials that report again what earlier attempts trained, all at once.
    """
    reported = [one for n, one in lines.items() if one.reports and n not in continuing]
    if not reported:
        return None
    firsts = sum((one.reports[0][0] - one.started).total_seconds() for one in reported)
    spans = [(one.reports[0], one.reports[-1]) for one in reported]
    epochs = sum(last[1] - first[1] for first, last in spans)
    seconds = sum((last[0] - first[0]).total_seconds() for first, last in spans)
    first = firsts / len(reported)
    return Pace(first, seconds / epochs if epochs > 0 else first)


def most_at_once(events: Iterable[Event], since: datetime) -> int:
    """The most trials that ran side by side, of those that were started `since` then."""
    running: set[int | None] = set()
    most = 0
    for event in events:
        if event.kind == "started" and event.time >= since:
            running.add(event.trial)
        elif event.kind == "ended":
            running.discard(event.trial)
        most = max(most, len(running))
    return most


def forecast(
    n_to_come: int,
    running: Iterable[tuple[int, float]],
    shares: Sequence[float],
    pace: Pace,
    at_once: int,
    seconds_left: float,
    core_seconds_left: float,
) -> Forecast:
    """What is left, within the budgets.

    running: of each, the last epoch and the seconds since it was reported.

    Two trials to come of 2 epochs (60 s and 30 s) each, and one with an epoch to go that began
    10 s ago: 90 + 90 + 20 = 200 s of work, for two at once.

    >>> forecast(2, [(2, 10.0)], [0.5, 1.0], Pace(60.0, 30.0), 2, 3600.0, 7200.0)
    Forecast(seconds=100.0, core_seconds=200.0, at_once=2, by_budget=False)
    """
    remaining = [
        max(_seconds(shares, epoch, pace) - waited, 0.0) for epoch, waited in running
    ] + n_to_come * [_seconds(shares, 0, pace)]
    work = sum(remaining)
    # The last trial has nobody to share with.
    seconds = max(work / at_once, max(remaining, default=0.0))
    limit = min(seconds_left, core_seconds_left / at_once)
    return Forecast(min(seconds, limit), min(work, core_seconds_left), at_once, seconds > limit)


def _seconds(shares: Sequence[float], epoch: int, pace: Pace) -> float:
    """Of a trial that is at work on the epoch after `epoch`."""
    epochs = expected_epochs(shares, epoch)
    return pace.later * epochs if epoch else pace.first + pace.later * (epochs - 1.0)
