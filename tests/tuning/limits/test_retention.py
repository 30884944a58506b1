from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tests.tuning.reasons import failure, recorded
from tuning.limits.retention import CheckpointPruner, DonorPruner
from tuning.records import CHECKPOINT, FAILURE, FailureKind, TrialEnd, TrialOutcome
from tuning.space import Budget, SchedulerConfig, Space
from tuning.study.attributes import AT_EPOCH, CLONES, CONTINUES, REPLACES, START_POINT
from tuning.study.run_folder import open_study
from tuning.study.storage import TRIALS
from tuning.study.trial_files import BEST_EPOCH, DONORS, PROGRESS, TrialFiles, donated
from tuning.study.trials import keep_value
from tuning.study.view import StudyView

OUTCOMES = {
    TrialState.COMPLETE: TrialOutcome.COMPLETE,
    TrialState.PRUNED: TrialOutcome.PRUNED,
    TrialState.FAIL: TrialOutcome.FAILED,
}


class Search:
    """A study whose trials leave weights and progress, and are then told to the listener."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder / TRIALS, keep
        self.study = open_study(folder, "tiny")
        self.files = TrialFiles(str(self.folder))
        self.start_session()

    def start_session(self) -> None:
        self.losers = CheckpointPruner(lambda: StudyView.of(self.study), self.keep, self.files)

    def end(
        self,
        value: float,
        state: TrialState = TrialState.PRUNED,
        reason: str = "",
        beside: Mapping[str, Any] = MappingProxyType({}),
    ) -> int:
        """Let a trial end with a value; returns its number."""
        trial = self.study.ask()
        trial.report(value, 1)
        for name in (BEST_EPOCH, PROGRESS):
            self.files.write(trial.number, name, b"some bytes")
        for key, attribute in {CHECKPOINT: 1, **beside}.items():
            trial.set_user_attr(key, attribute)
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state)
        self.losers.trial_ended(
            TrialEnd(trial.number, OUTCOMES[state], 1, value, failure(reason) if reason else None)
        )
        return trial.number

    def holding(self, name: str) -> Sequence[int]:
        """Numbers of the trials that have such a file."""
        return sorted(int(path.parent.name) for path in self.folder.glob(f"*/{name}"))


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path, keep=2)


def test_only_the_best_trials_keep_their_weights(search: Search) -> None:
    kept = []
    for value in (0.5, 0.3, 0.4, 0.1, 0.9):
        search.end(value)
        kept.append(search.holding(BEST_EPOCH))
    assert kept == [[0], [0, 1], [0, 2], [0, 2], [0, 4]]


def test_a_trial_that_waits_to_be_continued_keeps_its_files_when_others_outdo_it(
    search: Search,
) -> None:
    why = {FAILURE: recorded(FailureKind.INTERRUPTED)}
    cut_short = [search.end(v, TrialState.FAIL, FailureKind.INTERRUPTED, why) for v in (0.1, 0.2)]
    search.start_session()
    better = [search.end(value) for value in (0.9, 0.8, 0.7)]
    assert search.holding(PROGRESS) == cut_short
    assert search.holding(BEST_EPOCH) == [*cut_short, *better[:2]]


def test_an_attempt_whose_continuation_failed_gives_way_like_any_other(search: Search) -> None:
    first = search.end(
        0.1, TrialState.FAIL, FailureKind.INTERRUPTED, {FAILURE: recorded(FailureKind.INTERRUPTED)}
    )
    again = search.study.ask()
    again.set_user_attr(CONTINUES, first)
    again.set_user_attr(FAILURE, recorded("oom: 9 GB used"))
    search.study.tell(again, state=TrialState.FAIL)
    search.start_session()
    better = [search.end(value) for value in (0.9, 0.8, 0.7)]
    assert search.holding(BEST_EPOCH) == better[:2]


def test_the_best_epoch_decides_whether_a_trial_was_stopped_or_not(search: Search) -> None:
    search.end(0.8, TrialState.COMPLETE)
    for value in (0.9, 0.7):
        search.end(value)
    search.end(0.1, TrialState.COMPLETE)
    assert search.holding(BEST_EPOCH) == [0, 1]


def test_a_trial_that_is_over_needs_its_progress_no_more(search: Search) -> None:
    search.end(0.5)
    search.end(0.6, TrialState.COMPLETE)
    assert search.holding(PROGRESS) == []


def test_a_trial_that_was_cut_short_keeps_all_it_has(search: Search) -> None:
    for value in (0.9, 0.8, 0.1):
        search.end(value, TrialState.FAIL, reason=f"{FailureKind.INTERRUPTED}: Ctrl-C")
    assert search.holding(PROGRESS) == search.holding(BEST_EPOCH) == [0, 1, 2]


def test_earlier_attempts_go_when_the_last_one_is_over(search: Search) -> None:
    first = search.end(0.5, TrialState.FAIL, reason=f"{FailureKind.INTERRUPTED}: Ctrl-C")
    second = search.end(
        0.5, TrialState.FAIL, reason=f"{FailureKind.INTERRUPTED}: Ctrl-C", beside={CONTINUES: first}
    )
    third = search.end(0.5, beside={CONTINUES: second})
    assert search.holding(BEST_EPOCH) == [third]
    assert [path.name for path in search.folder.iterdir()] == [f"{third:05d}"]


def test_an_earlier_attempt_s_weights_stay_where_the_last_one_left_none(search: Search) -> None:
    first = search.end(0.5, TrialState.FAIL, reason=f"{FailureKind.INTERRUPTED}: Ctrl-C")
    last = search.study.ask()
    last.set_user_attr(CONTINUES, first)
    search.study.tell(last, state=TrialState.FAIL)
    search.losers.trial_ended(
        TrialEnd(last.number, TrialOutcome.FAILED, 0, None, failure("oom: 2.1 GB"))
    )
    assert search.holding(BEST_EPOCH) == [first]
    assert search.holding(PROGRESS) == []
    trials = search.study.get_trials(deepcopy=False)
    assert [trial.number for trial in StudyView(trials).ranked()] == [first]
    for value in (0.6, 0.7):
        search.end(value)
    assert search.holding(BEST_EPOCH) == [2, 3]


def test_start_points_keep_their_weights_beside_the_best(search: Search) -> None:
    start = search.end(0.1, beside={START_POINT: 0})
    for value in (0.5, 0.6, 0.7):
        search.end(value)
    assert search.holding(BEST_EPOCH) == [start, 2, 3]


def test_a_later_session_knows_whom_an_earlier_one_kept(search: Search) -> None:
    for value in (0.5, 0.7, 0.6):
        search.end(value)
    search.start_session()
    search.end(0.65)
    assert search.holding(BEST_EPOCH) == [1, 3]
    search.end(0.1)
    assert search.holding(BEST_EPOCH) == [1, 3]


def test_a_trial_without_weights_takes_nobody_s_place(search: Search) -> None:
    for value in (0.5, 0.7):
        search.end(value)
    trial = search.study.ask()
    search.study.tell(trial, state=TrialState.FAIL)
    search.losers.trial_ended(
        TrialEnd(trial.number, TrialOutcome.FAILED, 0, None, failure("nan: no loss"))
    )
    assert search.holding(BEST_EPOCH) == [0, 1]


@pytest.mark.parametrize("is_new_session", [False, True])
def test_a_trial_is_not_removed_for_better_ones_whose_weights_are_gone(
    search: Search, is_new_session: bool
) -> None:
    for value in (0.9, 0.8):
        search.end(value)
    shutil.rmtree(search.folder)
    if is_new_session:
        search.start_session()
    for value in (0.3, 0.1, 0.2):
        search.end(value)
    assert search.holding(BEST_EPOCH) == [2, 4]


def test_the_next_best_of_an_earlier_session_counts_where_the_best_is_gone(search: Search) -> None:
    for value in (0.9, 0.8):
        search.end(value)
    search.files.remove(0)
    search.start_session()
    for value in (0.5, 0.6):
        search.end(value)
    assert search.holding(BEST_EPOCH) == [1, 3]


def test_an_earlier_attempt_stays_where_the_weights_of_the_last_one_are_gone(
    search: Search,
) -> None:
    first = search.end(0.5, TrialState.FAIL, reason=f"{FailureKind.INTERRUPTED}: Ctrl-C")
    last = search.study.ask()
    last.set_user_attr(CONTINUES, first)
    last.set_user_attr(CHECKPOINT, 1)
    search.study.tell(last, 0.6)
    search.losers.trial_ended(TrialEnd(last.number, TrialOutcome.COMPLETE, 1, 0.6))
    assert search.holding(BEST_EPOCH) == [first]


def test_the_trials_of_a_pareto_front_keep_their_weights_beside_the_best(tmp_path: Path) -> None:
    search = Search(tmp_path, keep=1)
    (tmp_path / "weighed").mkdir()
    search.study = open_study(tmp_path / "weighed", "tiny", ["maximize", "minimize"])
    search.start_session()
    held = []
    for value, cost in [(0.5, 50), (0.4, 60), (0.3, 10), (0.6, 90), (0.55, 40), (0.2, 5)]:
        trial = search.study.ask()
        keep_value(trial, 1, value)
        trial.set_user_attr(CHECKPOINT, 1)
        search.files.write(trial.number, BEST_EPOCH, b"some bytes")
        search.study.tell(trial, [value, float(cost)])
        search.losers.trial_ended(TrialEnd(trial.number, TrialOutcome.COMPLETE, 1, value))
        held.append(search.holding(BEST_EPOCH))
    assert held == [[0], [0], [0, 2], [0, 2, 3], [2, 3, 4], [2, 3, 4, 5]]


# What members of a population leave for clones.


@pytest.fixture
def population(tiny_space: Space) -> Space:
    scheduler = SchedulerConfig(name="pbt", population=4, interval_epochs=1, quantile=0.5)
    header = tiny_space.header.model_copy(
        update={"scheduler": scheduler, "budget": Budget(trials=9, epochs=3), "start_from": []}
    )
    return Space(header, tiny_space.base, tiny_space.parameters)


class Donors:
    """A study whose trials leave an epoch for others, and then report it."""

    def __init__(self, folder: Path, space: Space) -> None:
        self.folder, self.study = folder / DONORS, open_study(folder, "tiny")
        self.files = TrialFiles(str(self.folder))
        self.kept = DonorPruner(space, lambda: StudyView.of(self.study), self.files)

    def report(self, trial: optuna.Trial, epoch: int, value: float) -> None:
        self.files.write(trial.number, donated(epoch), b"some bytes")
        trial.report(value, epoch)
        self.kept.trial_reported(trial.number, epoch, {})

    def end(self, trial: optuna.Trial, state: TrialState) -> None:
        self.study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state)
        self.kept.trial_ended(TrialEnd(trial.number, OUTCOMES[state], 1, 0.5))

    def holding(self, epoch: int) -> Sequence[int]:
        return sorted(int(path.parent.name) for path in self.folder.glob(f"*/{donated(epoch)}"))


def test_of_each_epoch_only_the_highest_stay(tmp_path: Path, population: Space) -> None:
    donors = Donors(tmp_path, population)
    trials = [donors.study.ask() for _ in range(4)]
    for epoch, values in ((1, (0.1, 0.3, 0.2, 0.4)), (2, (0.6, 0.1, 0.1, 0.5))):
        for trial, value in zip(trials, values, strict=True):
            donors.report(trial, epoch, value)
    assert (donors.holding(1), donors.holding(2)) == ([1, 3], [0, 3])


def test_who_left_nothing_that_is_still_there_takes_nobody_s_place(
    tmp_path: Path, population: Space
) -> None:
    donors = Donors(tmp_path, population)
    trials = [donors.study.ask() for _ in range(5)]
    for trial, value in zip(trials[:2], (0.9, 0.8), strict=True):
        donors.report(trial, 1, value)
    shutil.rmtree(donors.folder)
    for trial, value in zip(trials[2:], (0.1, 0.3, 0.2), strict=True):
        donors.report(trial, 1, value)
    assert donors.holding(1) == [3, 4]


def test_what_a_clone_waits_for_stays_until_it_is_over(tmp_path: Path, population: Space) -> None:
    donors = Donors(tmp_path, population)
    donor = donors.study.ask()
    donors.report(donor, 1, 0.1)
    donors.study.enqueue_trial({}, user_attrs={CLONES: donor.number, AT_EPOCH: 1, REPLACES: 9})
    clone = donors.study.ask()
    for value in (0.2, 0.3):
        donors.report(donors.study.ask(), 1, value)
    assert donors.holding(1) == [0, 2, 3]
    donors.end(clone, TrialState.COMPLETE)
    assert donors.holding(1) == [2, 3]


def test_a_member_that_failed_leaves_nothing(tmp_path: Path, population: Space) -> None:
    donors = Donors(tmp_path, population)
    trial = donors.study.ask()
    donors.report(trial, 1, 0.9)
    donors.end(trial, TrialState.FAIL)
    assert donors.holding(1) == []
