from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from quantum_rerank.config import ExperimentConfig
from tests.tuning.reasons import failure
from tuning.limits.budgets import CoreBudget, TimeBudget
from tuning.records import (
    SECONDS,
    StopKind,
    StopReason,
    TrainingsState,
    TrialEnd,
    TrialOutcome,
)
from tuning.study.attributes import sessions
from tuning.study.ledger import Ledger
from tuning.study.run_folder import load_study, open_study

CONFIG = ExperimentConfig()
KILLED_AFTER = 1.9  # seconds since the last write: the most that a kill loses is 2


@dataclass
class Clock:
    """A clock that is turned by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return open_study(tmp_path, "tiny")


def reported(ledger: Ledger, number: int, seconds: float, pid: int = 1) -> None:
    ledger.trial_reported(number, 1, {SECONDS: seconds, "pid": pid})


def test_a_search_has_run_since_its_session_started(study: optuna.Study) -> None:
    clock = Clock()
    ledger = Ledger(study, clock)
    clock.now += 12.5
    assert (ledger.elapsed(), ledger.session_seconds()) == (12.5, 12.5)


def test_24_hours_over_three_sessions_that_were_killed_are_24_hours(tmp_path: Path) -> None:
    day, kills, seconds = 24 * 3600.0, 0, 0.0
    for hours in (5.0, 11.0, 24.0):
        clock = Clock(now=hours * 777)  # of a process of its own, which starts anywhere
        ledger = Ledger(open_study(tmp_path, "tiny"), clock)
        budget = TimeBudget(24.0, ledger.elapsed)
        while not budget() and ledger.session_seconds() < hours * 3600.0:
            clock.now += 600.0
            seconds += 600.0
            ledger.tick()
        if not budget():  # nobody writes again
            clock.now += KILLED_AFTER
            seconds += KILLED_AFTER
            kills += 1
    assert str(budget()) == "time budget of 24 h"
    assert kills == 2
    assert ledger.elapsed() == pytest.approx(day, abs=600.0)
    assert seconds - 2.0 * kills <= ledger.elapsed() <= seconds


def test_time_never_goes_backwards_from_one_session_to_the_next(tmp_path: Path) -> None:
    seen = 0.0
    for session in range(4):
        clock = Clock(now=1e6 / (session + 1))  # each machine has another
        ledger = Ledger(open_study(tmp_path, "tiny"), clock)
        for _ in range(5):
            assert ledger.elapsed() >= seen
            seen = ledger.elapsed()
            clock.now += 3.0
            ledger.tick()
        seen = ledger.elapsed()
    assert seen == 60.0


def test_a_session_is_written_down_every_other_second(tmp_path: Path, study: optuna.Study) -> None:
    clock = Clock()
    ledger = Ledger(study, clock)
    written = []
    for tick in range(1, 51):
        clock.now += 0.1
        ledger.tick()
        if tick % 10 == 5:
            (session,) = sessions(load_study(tmp_path).user_attrs)
            written.append(session["seconds"])
    assert written == pytest.approx([0.0, 0.0, 2.0, 2.0, 4.0], abs=0.15)


def test_sessions_come_in_order_with_how_they_ended(study: optuna.Study) -> None:
    clock = Clock()
    for number in range(11):
        ledger = Ledger(study, clock)
        clock.now += number
        if number in (3, 10):
            ledger.close(StopReason(StopKind.INTERRUPT) if number == 3 else None)
        else:
            ledger.write()
    found = sessions(study.user_attrs)
    assert [session["seconds"] for session in found] == list(range(11))
    assert [session.get("ended") for session in found] == [None] * 3 + ["Ctrl-C"] + [None] * 6 + [
        ""
    ]
    assert ledger.elapsed() == sum(range(11))
    for session in found:
        assert session["started"].endswith("+00:00")
        assert session["pid"] > 0
        assert session["host"]


def test_other_attributes_of_a_study_are_no_sessions(study: optuna.Study) -> None:
    study.set_user_attr("budget", {"trials": 4})
    Ledger(study, Clock())
    assert len(sessions(study.user_attrs)) == 1


def test_a_trial_has_cost_what_it_said_last(study: optuna.Study) -> None:
    ledger = Ledger(study, Clock())
    for number in (0, 1):
        ledger.trial_started(number, CONFIG)
    assert ledger.core_seconds() == 0.0
    reported(ledger, 0, 10.0)
    reported(ledger, 1, 3.0)
    reported(ledger, 0, 25.0)
    assert ledger.core_seconds() == 28.0
    ledger.trial_ended(TrialEnd(0, TrialOutcome.PRUNED, 2, 0.5, "", {SECONDS: 31.0, "pid": 1}))
    ledger.trial_ended(TrialEnd(1, TrialOutcome.FAILED, 0, None, failure("worker lost")))
    assert ledger.core_seconds() == 34.0


def test_a_trial_that_changed_its_worker_has_cost_what_it_said_last(study: optuna.Study) -> None:
    ledger = Ledger(study, Clock())
    for seconds, pid in ((100.0, 1), (120.0, 2), (150.0, 1)):
        reported(ledger, 0, seconds, pid)
    assert ledger.core_seconds() == 150.0


def test_every_attempt_at_a_configuration_counts_however_its_session_ended(tmp_path: Path) -> None:
    clock = Clock()
    for number, seconds in enumerate((100.0, 40.0, 7.0)):
        ledger = Ledger(open_study(tmp_path, "tiny"), clock)
        reported(ledger, number, seconds)
        clock.now += 2.0
        ledger.tick()  # the last that this session writes
        clock.now += KILLED_AFTER
    ledger = Ledger(open_study(tmp_path, "tiny"), clock)
    assert ledger.core_seconds() == 147.0
    budget = CoreBudget(147.5 / 3600, ledger.core_seconds)
    assert budget() is None
    reported(ledger, 3, 0.5)
    assert str(budget()).startswith("budget of")


def test_a_session_writes_down_nothing_of_earlier_ones(study: optuna.Study) -> None:
    clock = Clock()
    first = Ledger(study, clock)
    reported(first, 0, 5.0)
    clock.now += 30.0
    first.write()
    second = Ledger(study, clock)
    reported(second, 1, 1.0)
    clock.now += 10.0
    second.write()
    found = sessions(study.user_attrs)
    assert [(one["seconds"], one["core_seconds"]) for one in found] == [(30.0, 5.0), (10.0, 1.0)]


def test_trainings_of_the_conclusion_count_too(tmp_path: Path, study: optuna.Study) -> None:
    clock = Clock()
    ledger = Ledger(study, clock)
    budget = CoreBudget(0.01, ledger.core_seconds)
    reported(ledger, 0, 20.0)
    for _ in range(2):
        assert budget() is None
        clock.now += 4.0
        ledger.trainings_ran(TrainingsState("confirming", 2, 0, 2, 0.1, 4.0, core_seconds=8.0))
    assert budget() == StopReason(StopKind.CORE_BUDGET, "budget of 0.01 core-hours")
    (session,) = sessions(load_study(tmp_path).user_attrs)
    assert session["core_seconds"] == 36.0
