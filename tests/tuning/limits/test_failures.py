from __future__ import annotations

import pytest

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DataError, DivergedError, FilesError
from tuning.limits.concurrency import GIB
from tuning.limits.failures import (
    DIAGNOSIS,
    FailureStreak,
    failure_reason,
    memory_excess,
    memory_refusal,
)
from tuning.limits.stop_signal import StopSignal
from tuning.records import INTERRUPT, INTERRUPTED, OBJECTIVE, WORKER_LOST, TrialEnd, TrialState

OOM, NAN, ERROR = "oom: 8.10 GB used", "nan: the loss became nan", "error: KeyError: 'x'"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DivergedError("The loss became nan."), "nan: The loss became nan."),
        (MemoryError(), "oom: an allocation was refused"),
        (MemoryError("Unable to allocate 9 GiB"), "oom: Unable to allocate 9 GiB"),
        (KeyError("x"), "error: KeyError: 'x'"),
        (DataError("no queries"), "error: DataError: no queries"),
        (FilesError("`s3://bucket` cannot be used."), "storage: `s3://bucket` cannot be used."),
    ],
)
def test_a_reason_begins_with_its_kind(error: Exception, reason: str) -> None:
    assert failure_reason(error) == reason


def test_memory_above_the_budget_is_told_with_both_numbers() -> None:
    assert memory_excess(int(2.5 * GIB), 2.0) == "oom: 2.50 GB used, budget 2 GB"


def test_only_what_cannot_fit_is_refused() -> None:
    assert memory_refusal(2 * GIB, 2.0) == ""
    assert memory_refusal(2 * GIB + GIB // 4, 2.0).startswith("oom: not started")


# Failures in a row.


@pytest.fixture
def ending() -> StopSignal:
    return StopSignal([], lambda: 0.0)


@pytest.fixture
def streak(ending: StopSignal) -> FailureStreak:
    return FailureStreak(3, ending)


def hear(streak: FailureStreak, *reasons: str, state: TrialState = "failed") -> None:
    for number, reason in enumerate(reasons):
        streak.trial_started(number, ExperimentConfig())
        streak.trial_reported(number, 1, {OBJECTIVE: 0.5})
        streak.trial_ended(TrialEnd(number, state, 1, None, reason))


def test_the_same_failure_of_several_trials_in_a_row_ends_a_search(
    streak: FailureStreak, ending: StopSignal
) -> None:
    hear(streak, OOM, OOM)
    assert ending() == ""
    hear(streak, "oom: 9.99 GB used")  # the same kind, though not the same words
    assert ending() == f"{DIAGNOSIS} 3 trials in a row: oom: 9.99 GB used"


def test_another_kind_of_failure_starts_a_new_row(
    streak: FailureStreak, ending: StopSignal
) -> None:
    hear(streak, OOM, OOM, NAN, OOM, OOM, ERROR, ERROR)
    assert ending() == ""
    hear(streak, ERROR)
    assert ending().endswith(ERROR)


@pytest.mark.parametrize("state", ["complete", "pruned"])
def test_a_trial_that_did_not_fail_ends_the_row(
    streak: FailureStreak, ending: StopSignal, state: TrialState
) -> None:
    for _ in range(3):
        hear(streak, OOM, OOM)
        hear(streak, "", state=state)
    assert ending() == ""


def test_trials_that_were_cut_short_neither_count_nor_end_the_row(
    streak: FailureStreak, ending: StopSignal
) -> None:
    hear(streak, *[f"{INTERRUPTED}: Ctrl-C"] * 5)
    hear(streak, OOM, OOM, f"{INTERRUPTED}: Ctrl-C")
    assert ending() == ""
    hear(streak, OOM)
    assert ending().startswith(DIAGNOSIS)


# Lost workers in a row.


def start(streak: FailureStreak, *numbers: int) -> None:
    for number in numbers:
        streak.trial_started(number, ExperimentConfig())


def lose(streak: FailureStreak, *numbers: int) -> None:
    for number in numbers:
        streak.trial_ended(TrialEnd(number, "failed", 0, None, WORKER_LOST))


def test_workers_that_are_lost_one_after_another_end_a_search(
    streak: FailureStreak, ending: StopSignal
) -> None:
    for number in range(3):
        assert ending() == ""
        start(streak, number)
        lose(streak, number)
    assert ending() == f"{DIAGNOSIS} 3 trials in a row: {WORKER_LOST}"


def test_a_machine_that_takes_all_its_workers_with_it_does_not_end_a_search(
    streak: FailureStreak, ending: StopSignal
) -> None:
    start(streak, *range(8))
    lose(streak, 0)
    start(streak, 8)  # waits for room elsewhere while the news of the others comes in
    lose(streak, *range(1, 8))
    assert ending() == ""


def test_machines_of_several_workers_that_are_lost_one_after_another_end_a_search(
    streak: FailureStreak, ending: StopSignal
) -> None:
    for machine in range(3):
        assert ending() == ""
        numbers = range(8 * machine, 8 * machine + 8)
        start(streak, *numbers)
        lose(streak, *numbers)
    assert ending().startswith(DIAGNOSIS)


def test_workers_that_are_lost_while_others_train_do_not_end_a_search(
    streak: FailureStreak, ending: StopSignal
) -> None:
    start(streak, 0)
    for number in range(1, 9):
        start(streak, number)
        lose(streak, number)
        streak.trial_reported(0, number, {OBJECTIVE: 0.5})
    assert ending() == ""


def test_what_a_failing_trial_reported_before_does_not_end_its_row(
    streak: FailureStreak, ending: StopSignal
) -> None:
    hear(streak, NAN, NAN)
    streak.trial_reported(9, 1, {OBJECTIVE: 0.5})
    hear(streak, NAN)
    assert ending().startswith(DIAGNOSIS)


def test_where_a_trial_s_files_cannot_be_written_the_search_ends_at_once(
    streak: FailureStreak, ending: StopSignal
) -> None:
    hear(streak, OOM, "storage: the disk is full", OOM)
    assert ending() == "storage: the disk is full"
    assert TrialEnd(0, "failed", 1, None, ending()).is_cut_short


def test_a_search_that_is_over_keeps_its_first_reason(
    streak: FailureStreak, ending: StopSignal
) -> None:
    ending.stop(INTERRUPT)
    hear(streak, OOM, OOM, OOM)
    assert ending() == INTERRUPT


def test_a_limit_of_one_ends_a_search_at_its_first_failure(ending: StopSignal) -> None:
    hear(FailureStreak(1, ending), NAN)
    assert ending().startswith(DIAGNOSIS)
