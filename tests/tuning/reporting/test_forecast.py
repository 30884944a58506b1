from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from quantum_rerank.similarity import MODELS
from tuning.conclusion.baselines import baselines_of
from tuning.reporting.events import Event
from tuning.reporting.forecast import (
    ConclusionWork,
    Forecast,
    Pace,
    TimeLeft,
    Timeline,
    TrialExtent,
    Workload,
    conclusion_work,
    expected_epochs,
    forecast,
    measured_pace,
    most_at_once,
    shares_going_on,
    timelines,
)
from tuning.space import Header

NOTHING = ConclusionWork()
START = datetime(2030, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def second(seconds: float) -> float:
    return at(seconds).timestamp()


def left_of(
    n_to_come: int,
    running: list[tuple[int, float]],
    shares: list[float],
    at_once: int,
    left: tuple[float, float] = (math.inf, math.inf),
    conclusion: ConclusionWork = NOTHING,
) -> Forecast:
    work = Workload(n_to_come, running, at_once, conclusion)
    return forecast(work, shares, Pace(10.0, 10.0), TimeLeft(*left))


def event(second: float, kind: str, trial: int | None, **facts: object) -> Event:
    return Event(at(second), kind, trial, facts)


def test_without_history_nothing_is_known_to_stop_a_trial() -> None:
    shares = shares_going_on([], 9)
    assert shares == [1.0] * 8
    assert expected_epochs(shares) == 9


def test_trials_that_run_count_as_going_on_so_that_early_ends_do_not_rule_alone() -> None:
    stopped, running = 2 * [TrialExtent(3, has_ended=True)], 6 * [TrialExtent(5, has_ended=False)]
    assert shares_going_on(stopped, 9)[2] == 0.0
    assert shares_going_on([*stopped, *running], 9)[2] == 0.75


def test_epochs_expected_of_a_new_trial_are_the_mean_of_those_that_ended() -> None:
    lengths = [3, 3, 3, 3, 9, 9, 27]
    shares = shares_going_on([TrialExtent(length, has_ended=True) for length in lengths], 27)
    assert expected_epochs(shares) == pytest.approx(sum(lengths) / len(lengths))


@pytest.mark.parametrize(("epoch", "expected"), [(0, 2.0), (1, 2.0), (2, 1.0), (3, 0.0), (7, 0.0)])
def test_epochs_expected_end_with_the_last_epoch(epoch: int, expected: float) -> None:
    assert expected_epochs([0.5, 1.0], epoch) == expected


def test_the_first_epoch_has_a_pace_of_its_own() -> None:
    lines = timelines(
        [
            event(0, "session_started", None, trials_to_go=2),
            event(0, "started", 0),
            event(2, "started", 1),
            event(10, "reported", 0, epoch=1),
            event(14, "reported", 1, epoch=1),
            event(13, "reported", 0, epoch=2),
            event(16, "reported", 0, epoch=3),
            event(19, "reported", 9, epoch=3),  # its start was lost
        ]
    )
    assert measured_pace(lines, continuing=()) == Pace(first=11.0, later=3.0)


def test_a_trial_that_continues_another_reports_what_was_trained_before_and_sets_no_pace() -> None:
    line = Timeline(second(0), [(second(5), 1), (second(5), 2), (second(5), 3)])
    assert measured_pace({7: line}, continuing={7}) is None


def test_without_a_second_epoch_later_ones_are_taken_to_last_as_long_as_the_first() -> None:
    assert measured_pace({0: Timeline(second(0), [(second(8), 1)])}, ()) == Pace(8.0, 8.0)


def test_trials_at_once_are_those_that_overlap_in_this_session() -> None:
    events = [
        *(event(0, "started", trial) for trial in range(5)),  # of a session that was killed
        event(100, "started", 5),
        event(100, "started", 6),
        event(110, "ended", 5),
        event(110, "started", 7),
    ]
    assert most_at_once(events, since=second(90)) == 2
    assert most_at_once(events, since=second(200)) == 0


def test_the_last_trial_has_nobody_to_share_its_work_with() -> None:
    found = left_of(0, [(0, 0.0)], [1.0] * 9, 4)
    assert (found.seconds, found.core_seconds) == (100.0, 100.0)


def test_a_trial_that_is_late_needs_no_negative_time() -> None:
    found = left_of(0, [(1, 500.0), (1, 0.0)], [1.0], 2)
    assert found.core_seconds == 10.0


@pytest.mark.parametrize(
    ("seconds_left", "core_seconds_left", "seconds", "core_seconds"),
    [(30.0, math.inf, 30.0, 80.0), (math.inf, 50.0, 25.0, 50.0), (0.0, math.inf, 0.0, 80.0)],
)
def test_a_budget_ends_what_would_take_longer(
    seconds_left: float, core_seconds_left: float, seconds: float, core_seconds: float
) -> None:
    found = left_of(4, [], [1.0], 2, (seconds_left, core_seconds_left))
    assert (found.seconds, found.core_seconds) == (seconds, core_seconds)
    assert found.by_budget


def test_nothing_left_takes_no_time() -> None:
    found = left_of(0, [], [1.0], 2, (60.0, math.inf))
    assert (found.seconds, found.core_seconds, found.by_budget) == (0.0, 0.0, False)


def header(**values: object) -> Header:
    budget = {"trials": 10, "epochs": 9, "hours": 2.0}
    return Header.model_validate({"name": "n", "base": "b.yaml", "budget": budget, **values})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"top_k": 3, "confirm_seeds": 5}, 3 * 2 + 3 + 3),
        ({"top_k": 3, "confirm_seeds": 1}, 3 + 3),
        ({"top_k": 3, "confirm_seeds": 0}, 3),
        ({"top_k": 1, "confirm_seeds": 5}, 3),  # one trial needs no comparison
    ],
)
def test_the_conclusion_confirms_the_best_and_trains_the_baselines(
    values: dict[str, int], expected: int
) -> None:
    assert conclusion_work(header(**values), []) == ConclusionWork(expected, 9.0)
    trained = {model: MODELS[model].is_trainable for model in MODELS}
    assert max(sum(trained[one] for one in baselines_of(model)) for model in MODELS) == 3


def test_trainings_of_the_conclusion_are_as_long_as_the_longest_trials() -> None:
    lengths = [1, 1, 3, 9, 6]
    extents = [TrialExtent(n, has_ended=True) for n in lengths] + [TrialExtent(8, has_ended=False)]
    assert conclusion_work(header(top_k=3), extents).epochs == 6.0


def test_the_conclusion_comes_after_the_trials() -> None:
    work = ConclusionWork(n_trainings=3, epochs=4.0)
    found = left_of(2, [], [1.0] * 3, 2, conclusion=work)
    assert (found.seconds, found.core_seconds) == (40.0 + 2 * 40.0, 2 * 40.0 + 3 * 40.0)
    assert left_of(2, [], [1.0] * 3, 2, (100.0, math.inf), work).by_budget
