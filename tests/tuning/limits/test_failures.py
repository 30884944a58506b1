from __future__ import annotations

import pytest

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DataError, DivergedError, FilesError
from tests.tuning.reasons import failure
from tuning.limits.concurrency import GIB
from tuning.limits.failures import (
    FailureStreak,
    failure_of,
    memory_excess,
    memory_refusal,
)
from tuning.limits.stop_signal import StopSignal
from tuning.records import (
    OBJECTIVE,
    FailureKind,
    StopKind,
    StopReason,
    TrialEnd,
    TrialOutcome,
)

ROW = "the same failure of"
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
    assert str(failure_of(error)) == reason


def test_memory_above_the_budget_is_told_with_both_numbers() -> None:
    assert str(memory_excess(int(2.5 * GIB), 2.0)) == "oom: 2.50 GiB used, budget 2 GiB"


def test_only_what_cannot_fit_is_refused() -> None:
    assert memory_refusal(2 * GIB, 2.0) is None
    assert str(memory_refusal(2 * GIB + GIB // 4, 2.0)).startswith("oom: not started")


# Failures in a row.


@pytest.fixture
def stop_signal() -> StopSignal:
    return StopSignal([], lambda: 0.0)


@pytest.fixture
def streak(stop_signal: StopSignal) -> FailureStreak:
    return FailureStreak(3, stop_signal)


def end(streak: FailureStreak, *reasons: str, outcome: TrialOutcome = TrialOutcome.FAILED) -> None:
    for number, reason in enumerate(reasons):
        streak.trial_started(number, ExperimentConfig())
        streak.trial_reported(number, 1, {OBJECTIVE: 0.5})
        reason_of_end = failure(reason) if reason else None
        streak.trial_ended(TrialEnd(number, outcome, 1, None, reason_of_end))


def test_the_same_failure_of_several_trials_in_a_row_ends_a_search(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    end(streak, OOM, OOM)
    assert stop_signal() is None
    end(streak, "oom: 9.99 GB used")  # the same kind, though not the same words
    assert str(stop_signal()) == f"{ROW} 3 trials in a row: oom: 9.99 GB used"


def test_another_kind_of_failure_starts_a_new_row(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    end(streak, OOM, OOM, NAN, OOM, OOM, ERROR, ERROR)
    assert stop_signal() is None
    end(streak, ERROR)
    assert str(stop_signal()).endswith(ERROR)


@pytest.mark.parametrize("outcome", [TrialOutcome.COMPLETE, TrialOutcome.PRUNED])
def test_a_trial_that_did_not_fail_ends_the_row(
    streak: FailureStreak, stop_signal: StopSignal, outcome: TrialOutcome
) -> None:
    for _ in range(3):
        end(streak, OOM, OOM)
        end(streak, "", outcome=outcome)
    assert stop_signal() is None


def test_trials_that_were_cut_short_neither_count_nor_end_the_row(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    end(streak, *[f"{FailureKind.INTERRUPTED}: Ctrl-C"] * 5)
    end(streak, OOM, OOM, f"{FailureKind.INTERRUPTED}: Ctrl-C")
    assert stop_signal() is None
    end(streak, OOM)
    assert str(stop_signal()).startswith(ROW)


# Lost workers in a row.


def start(streak: FailureStreak, *numbers: int) -> None:
    for number in numbers:
        streak.trial_started(number, ExperimentConfig())


def lose(streak: FailureStreak, *numbers: int) -> None:
    for number in numbers:
        streak.trial_ended(
            TrialEnd(number, TrialOutcome.FAILED, 0, None, failure(FailureKind.WORKER_LOST))
        )


def test_workers_that_are_lost_one_after_another_end_a_search(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    for number in range(3):
        assert stop_signal() is None
        start(streak, number)
        lose(streak, number)
    assert str(stop_signal()) == f"{ROW} 3 trials in a row: {FailureKind.WORKER_LOST}"


def test_a_machine_that_takes_all_its_workers_with_it_does_not_end_a_search(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    start(streak, *range(8))
    lose(streak, 0)
    start(streak, 8)  # waits for room elsewhere while the news of the others comes in
    lose(streak, *range(1, 8))
    assert stop_signal() is None


def test_machines_of_several_workers_that_are_lost_one_after_another_end_a_search(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    for machine in range(3):
        assert stop_signal() is None
        numbers = range(8 * machine, 8 * machine + 8)
        start(streak, *numbers)
        lose(streak, *numbers)
    assert str(stop_signal()).startswith(ROW)


def test_workers_that_are_lost_while_others_train_do_not_end_a_search(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    start(streak, 0)
    for number in range(1, 9):
        start(streak, number)
        lose(streak, number)
        streak.trial_reported(0, number, {OBJECTIVE: 0.5})
    assert stop_signal() is None


def test_what_a_failing_trial_reported_before_does_not_end_its_row(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    end(streak, NAN, NAN)
    streak.trial_reported(9, 1, {OBJECTIVE: 0.5})
    end(streak, NAN)
    assert str(stop_signal()).startswith(ROW)


def test_where_a_trial_s_files_cannot_be_written_the_search_ends_at_once(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    end(streak, OOM, "storage: the disk is full", OOM)
    assert stop_signal() == StopReason(StopKind.STORAGE, "the disk is full")


def test_a_search_that_is_over_keeps_its_first_reason(
    streak: FailureStreak, stop_signal: StopSignal
) -> None:
    stop_signal.stop(StopReason(StopKind.INTERRUPT))
    end(streak, OOM, OOM, OOM)
    assert stop_signal() == StopReason(StopKind.INTERRUPT)


def test_a_limit_of_one_ends_a_search_at_its_first_failure(stop_signal: StopSignal) -> None:
    end(FailureStreak(1, stop_signal), NAN)
    assert str(stop_signal()).startswith(ROW)
