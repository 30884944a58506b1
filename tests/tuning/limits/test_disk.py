from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest
from optuna.trial import TrialState

from tuning.limits.disk import LosersRemoved
from tuning.records import CHECKPOINT, INTERRUPTED, TrialEnd
from tuning.records import TrialState as Told
from tuning.study.history import CONTINUES, START_POINT, keep_value
from tuning.study.run_folder import TRIALS, open_study
from tuning.workers.trial_files import BEST_EPOCH, PROGRESS, TrialFiles

STATES: dict[TrialState, Told] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class Search:
    """A study whose trials leave weights and progress, and are then told to the listener."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder / TRIALS, keep
        self.study = open_study(folder, "tiny")
        self.files = TrialFiles(str(self.folder))
        self.start_session()

    def start_session(self) -> None:
        self.losers = LosersRemoved(
            lambda: self.study.get_trials(deepcopy=False), self.keep, self.files
        )

    def end(
        self,
        value: float,
        state: TrialState = TrialState.PRUNED,
        reason: str = "",
        beside: Mapping[str, int] = MappingProxyType({}),
    ) -> int:
        """Let a trial end with a value; returns its number."""
        trial = self.study.ask()
        trial.report(value, 1)
        for name in (BEST_EPOCH, PROGRESS):
            self.files.write(trial.number, name, b"some bytes")
        for key, attribute in {CHECKPOINT: 1, **beside}.items():
            trial.set_user_attr(key, attribute)
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state)
        self.losers.trial_ended(TrialEnd(trial.number, STATES[state], 1, value, reason))
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


def test_a_complete_trial_comes_before_any_that_was_stopped(search: Search) -> None:
    search.end(0.1, TrialState.COMPLETE)
    for value in (0.9, 0.8, 0.7):
        search.end(value)
    assert search.holding(BEST_EPOCH) == [0, 1]


def test_a_trial_that_is_over_needs_its_progress_no_more(search: Search) -> None:
    search.end(0.5)
    search.end(0.6, TrialState.COMPLETE)
    assert search.holding(PROGRESS) == []


def test_a_trial_that_was_cut_short_keeps_all_it_has(search: Search) -> None:
    for value in (0.9, 0.8, 0.1):
        search.end(value, TrialState.FAIL, reason=f"{INTERRUPTED}: Ctrl-C")
    assert search.holding(PROGRESS) == search.holding(BEST_EPOCH) == [0, 1, 2]


def test_earlier_attempts_go_when_the_last_one_is_over(search: Search) -> None:
    first = search.end(0.5, TrialState.FAIL, reason=f"{INTERRUPTED}: Ctrl-C")
    second = search.end(
        0.5, TrialState.FAIL, reason=f"{INTERRUPTED}: Ctrl-C", beside={CONTINUES: first}
    )
    third = search.end(0.5, beside={CONTINUES: second})
    assert search.holding(BEST_EPOCH) == [third]
    assert [path.name for path in search.folder.iterdir()] == [f"{third:05d}"]


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
    search.losers.trial_ended(TrialEnd(trial.number, "failed", 0, None, "nan: no loss"))
    assert search.holding(BEST_EPOCH) == [0, 1]


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
        search.losers.trial_ended(TrialEnd(trial.number, "complete", 1, value))
        held.append(search.holding(BEST_EPOCH))
    assert held == [[0], [0], [0, 2], [0, 2, 3], [2, 3, 4], [2, 3, 4, 5]]
