from __future__ import annotations

from dataclasses import dataclass

import pytest

from quantum_rerank.config import ExperimentConfig
from tuning.limits.deadlines import Deadlines, TimeLimits
from tuning.records import LONGEST_TURN_SECONDS, OBJECTIVE, AttendedClock, TrialEnd, TrialOutcome

CONFIG = ExperimentConfig()
HOUR, MINUTE = 3600.0, 60.0


@dataclass
class Clock:
    """A clock that is turned by hand."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deadlines(clock: Clock) -> Deadlines:
    """Of two hours a trial and ten minutes an epoch; trial 0 has just started."""
    found = Deadlines(TimeLimits(2.0, 10.0), clock)
    found.trial_started(0, CONFIG)
    return found


def test_a_trial_that_reports_in_time_is_not_overdue_until_its_hours_are_over(
    deadlines: Deadlines, clock: Clock
) -> None:
    for epoch in range(1, 14):
        clock.now += 9 * MINUTE
        assert deadlines.overdue(0, is_running=True) is None
        deadlines.trial_reported(0, epoch, {OBJECTIVE: 0.5})
    clock.now += 3 * MINUTE
    assert deadlines.overdue(0, is_running=True) is None
    clock.now += 1.0
    assert str(deadlines.overdue(0, is_running=True)) == "timeout: longer than 2 h"


def test_a_trial_that_says_nothing_is_overdue_though_it_has_hours_left(
    deadlines: Deadlines, clock: Clock
) -> None:
    clock.now += 5 * MINUTE
    deadlines.trial_reported(0, 1, {OBJECTIVE: 0.5})
    clock.now += 10 * MINUTE
    assert deadlines.overdue(0, is_running=True) is None
    clock.now += 1.0
    assert str(deadlines.overdue(0, is_running=True)) == "timeout: no epoch ended within 10 min"


def test_a_trial_that_waits_for_its_worker_has_all_its_time(
    deadlines: Deadlines, clock: Clock
) -> None:
    for _ in range(5):
        clock.now += HOUR
        assert deadlines.overdue(0, is_running=False) is None
    clock.now += 10 * MINUTE
    assert deadlines.overdue(0, is_running=True) is None
    clock.now += 1.0
    assert deadlines.overdue(0, is_running=True) is not None


def test_each_trial_has_its_own_time(deadlines: Deadlines, clock: Clock) -> None:
    clock.now += 8 * MINUTE
    deadlines.trial_started(1, CONFIG)
    clock.now += 8 * MINUTE
    assert deadlines.overdue(0, is_running=True) is not None
    assert deadlines.overdue(1, is_running=True) is None


def test_a_trial_that_ended_is_never_overdue(deadlines: Deadlines, clock: Clock) -> None:
    deadlines.trial_ended(TrialEnd(0, TrialOutcome.COMPLETE, 3, 0.5))
    clock.now += 99 * HOUR
    assert deadlines.overdue(0, is_running=True) is None


def test_without_limits_no_trial_is_overdue(clock: Clock) -> None:
    deadlines = Deadlines(TimeLimits(), clock)
    deadlines.trial_started(0, CONFIG)
    clock.now += 999 * HOUR
    assert deadlines.overdue(0, is_running=True) is None


def test_the_time_in_which_others_go_first_is_not_a_trial_s(
    deadlines: Deadlines, clock: Clock
) -> None:
    for _ in range(11):  # of 18 minutes, half of them at work
        for runs in (True, False):
            clock.now += 9 * MINUTE
            assert deadlines.overdue(0, runs) is None
        deadlines.trial_reported(0, 1, {OBJECTIVE: 0.5})
    clock.now += 9 * MINUTE
    assert deadlines.overdue(0, is_running=True) is None
    for _ in range(2):
        deadlines.trial_reported(0, 2, {OBJECTIVE: 0.5})
        clock.now += 9 * MINUTE
        late = deadlines.overdue(0, is_running=True)
    assert str(late) == "timeout: longer than 2 h"


def attended(clock: Clock) -> Deadlines:
    """Deadlines as a search has them, whose loop looks at them all the time."""
    deadlines = Deadlines(TimeLimits(2.0, 10.0), AttendedClock(clock))
    deadlines.trial_started(0, CONFIG)
    return deadlines


def look_for(seconds: float, deadlines: Deadlines, clock: Clock) -> str:
    """What the loop sees last, which looks once a second."""
    late = None
    for _ in range(round(seconds)):
        clock.now += 1.0
        late = deadlines.overdue(0, is_running=True)
    return late


def test_the_time_in_which_the_driver_was_stopped_is_not_a_trial_s(clock: Clock) -> None:
    deadlines = attended(clock)
    assert look_for(9 * MINUTE, deadlines, clock) is None
    clock.now += 8 * HOUR  # a night, of which nobody heard a report
    deadlines.overdue(0, is_running=True)
    assert look_for(MINUTE, deadlines, clock) is None
    assert str(look_for(1, deadlines, clock)) == "timeout: no epoch ended within 10 min"


def test_a_driver_that_is_stopped_again_and_again_still_ends_what_hangs(clock: Clock) -> None:
    deadlines = attended(clock)
    for _ in range(10):
        assert look_for(MINUTE, deadlines, clock) is None
        clock.now += HOUR
        deadlines.overdue(0, is_running=True)
    assert look_for(1, deadlines, clock) is not None


def test_a_report_that_is_heard_after_a_stop_counts_as_one_of_now(clock: Clock) -> None:
    deadlines = attended(clock)
    assert look_for(9 * MINUTE, deadlines, clock) is None
    clock.now += HOUR
    deadlines.trial_reported(0, 1, {OBJECTIVE: 0.5})
    assert look_for(10 * MINUTE, deadlines, clock) is None
    assert look_for(1, deadlines, clock) is not None


def test_a_slow_turn_of_the_loop_is_time_like_any_other(clock: Clock) -> None:
    watch = AttendedClock(clock)
    started = watch()
    for _ in range(10):
        clock.now += LONGEST_TURN_SECONDS
        watch()
    assert watch() - started == 10 * LONGEST_TURN_SECONDS
