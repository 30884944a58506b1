from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tests.tuning.reasons import recorded
from tuning.records import FAILURE, Failure, FailureKind
from tuning.space import Space
from tuning.study.attributes import CONTINUES, START_POINT, failure
from tuning.study.resuming import close_running, enqueue_missing
from tuning.study.run_folder import load_study, open_study
from tuning.study.trials import best_so_far, curve, is_cut_short, keep_value
from tuning.study.view import StudyView

Trials = list[optuna.trial.FrozenTrial]


@pytest.fixture
def space(tiny_space: Space) -> Space:
    """The tiny space with two start points."""
    starts: list[dict[str, Any]] = [{}, {"loss.name": "infonce"}]
    header = tiny_space.header.model_copy(update={"start_from": starts})
    return Space(header, tiny_space.base, tiny_space.parameters)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return open_study(tmp_path, "tiny")


def begun(study: optuna.Study, space: Space, *values: float) -> optuna.Trial:
    """A trial at work, with an objective per epoch so far."""
    trial = study.ask()
    space.suggest(trial)
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
    return trial


def ended(study: optuna.Study, space: Space, reason: str, *values: float) -> int:
    """A trial that is over: pruned, or failed for a reason."""
    trial = begun(study, space, *values)
    if reason:
        trial.set_user_attr(FAILURE, recorded(reason))
    study.tell(trial, state=TrialState.FAIL if reason else TrialState.PRUNED)
    return trial.number


def states(trials: Trials) -> list[str]:
    return [trial.state.name for trial in trials]


# Trials that nobody told of.


def test_a_trial_that_was_left_running_becomes_an_interrupted_one(
    study: optuna.Study, space: Space, tmp_path: Path
) -> None:
    ended(study, space, "", 0.3)
    begun(study, space, 0.4, 0.5)
    begun(study, space)
    assert close_running(study, "the search was killed") == 2
    trials = load_study(tmp_path).get_trials()
    assert states(trials) == ["PRUNED", "FAIL", "FAIL"]
    reason = Failure(FailureKind.INTERRUPTED, "the search was killed")
    assert [failure(trial) for trial in trials] == [None, reason, reason]
    assert trials[1].intermediate_values == {1: 0.4, 2: 0.5}
    assert [is_cut_short(trial) for trial in trials] == [False, True, True]


def test_where_nothing_is_left_running_nothing_is_changed(
    study: optuna.Study, space: Space
) -> None:
    ended(study, space, "", 0.3)
    enqueue_missing(study, space)
    before = study.get_trials()
    assert close_running(study, "the search was killed") == 0
    assert study.get_trials() == before


@pytest.mark.parametrize(
    ("reason", "cut_short"),
    [
        (f"{FailureKind.INTERRUPTED}: Ctrl-C", True),
        (FailureKind.WORKER_LOST, True),
        ("oom: 8.10 GB used, budget 8 GB", False),
        ("nan: the loss became nan", False),
        ("error: ValueError: interrupted", False),
        ("timeout: longer than 2 h", False),
    ],
)
def test_only_what_is_not_the_configuration_s_fault_is_cut_short(
    study: optuna.Study, space: Space, reason: str, cut_short: bool
) -> None:
    ended(study, space, reason, 0.3)
    (trial,) = study.get_trials()
    assert is_cut_short(trial) == cut_short
    assert (trial not in StudyView([trial]).finished()) == cut_short


# What is queued.


def test_a_new_study_gets_the_start_points_of_its_space(study: optuna.Study, space: Space) -> None:
    enqueue_missing(study, space)
    trials = study.get_trials()
    assert states(trials) == ["WAITING", "WAITING"]
    assert [trial.user_attrs for trial in trials] == [{START_POINT: 0}, {START_POINT: 1}]
    for point in space.start_points():
        assert space.suggest(study.ask()) == point


def test_what_was_cut_short_is_queued_again_with_the_same_parameters(
    study: optuna.Study, space: Space
) -> None:
    enqueue_missing(study, space)
    interrupted = ended(study, space, f"{FailureKind.INTERRUPTED}: Ctrl-C", 0.3)
    begun(study, space, 0.2)
    lost = ended(study, space, FailureKind.WORKER_LOST)
    ended(study, space, "nan: the loss became nan", 0.3)
    ended(study, space, "", 0.3)
    close_running(study, "the search was killed")
    enqueue_missing(study, space)
    trials = study.get_trials()
    assert states(trials)[5:] == ["WAITING"] * 3
    assert [trial.user_attrs for trial in trials[5:]] == [
        {CONTINUES: interrupted, START_POINT: 0},
        {CONTINUES: 1, START_POINT: 1},
        {CONTINUES: lost},
    ]
    for number in (interrupted, 1, lost):
        assert space.suggest(study.ask()) == trials[number].params


def test_everything_is_queued_once_however_often_it_is_asked_for(
    study: optuna.Study, space: Space, tmp_path: Path
) -> None:
    enqueue_missing(study, space)
    ended(study, space, f"{FailureKind.INTERRUPTED}: Ctrl-C", 0.3)
    for _ in range(3):
        again = load_study(tmp_path)
        enqueue_missing(again, space)
    trials = again.get_trials()
    assert [trial.user_attrs.get(CONTINUES) for trial in trials] == [None, None, 0]
    again.ask()
    enqueue_missing(again, space)
    assert len(again.get_trials()) == 3


class Dying:
    """A study whose process is killed when it queues the n-th trial."""

    def __init__(self, study: optuna.Study, n: int) -> None:
        self._study, self._left = study, n

    def enqueue_trial(self, *arguments: Any, **named: Any) -> None:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        self._study.enqueue_trial(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


@pytest.mark.parametrize("survived", range(4))
def test_a_death_in_the_middle_of_queueing_is_made_up_for(
    study: optuna.Study, space: Space, survived: int
) -> None:
    for _ in range(2):
        ended(study, space, FailureKind.WORKER_LOST, 0.3)
    with pytest.raises(KeyboardInterrupt):
        enqueue_missing(Dying(study, survived), space)  # type: ignore[arg-type]
    assert len(study.get_trials()) == 2 + survived
    enqueue_missing(study, space)
    queued = [trial.user_attrs for trial in study.get_trials()[2:]]
    assert queued == [{START_POINT: 0}, {START_POINT: 1}, {CONTINUES: 0}, {CONTINUES: 1}]


@pytest.mark.parametrize("suggested", range(4))
def test_what_was_killed_before_it_had_its_parameters_gets_those_that_were_queued(
    study: optuna.Study, space: Space, suggested: int
) -> None:
    enqueue_missing(study, space)
    for _ in range(3):  # killed each time, also as an attempt at what was queued again
        trial = study.ask()
        for name in list(space.start_points()[trial.user_attrs[START_POINT]])[:suggested]:
            space.parameters[name].suggest(trial, name)
        close_running(study, "the search was killed")
        enqueue_missing(study, space)
    waiting = [t for t in study.get_trials() if t.state == TrialState.WAITING]
    points = [space.start_points()[trial.user_attrs[START_POINT]] for trial in waiting]
    assert [space.suggest(study.ask()) for _ in waiting] == points
    assert sorted(trial.user_attrs[START_POINT] for trial in waiting) == [0, 1]


# Attempts at one configuration.


@pytest.fixture
def chain(study: optuna.Study, space: Space) -> Trials:
    """Attempts 0, 2 and 4 at one configuration, 1 and 3 at another, 5 waits to continue 4."""
    none = Space(space.header.model_copy(update={"start_from": []}), space.base, space.parameters)
    for _ in range(2):
        ended(study, none, FailureKind.WORKER_LOST, 0.3)
    enqueue_missing(study, none)
    ended(study, none, FailureKind.WORKER_LOST, 0.4)
    ended(study, none, "", 0.5)
    enqueue_missing(study, none)
    ended(study, none, f"{FailureKind.INTERRUPTED}: Ctrl-C", 0.6)
    enqueue_missing(study, none)
    return study.get_trials()


def test_attempts_are_known_from_the_latest_to_the_first(chain: Trials) -> None:
    assert states(chain) == ["FAIL", "FAIL", "FAIL", "PRUNED", "FAIL", "WAITING"]
    found = [StudyView(chain).attempts(number) for number in range(6)]
    assert found == [[0], [1], [2, 0], [3, 1], [4, 2, 0], [5, 4, 2, 0]]


def test_a_trial_is_told_of_the_attempts_before_it(chain: Trials) -> None:
    assert StudyView(chain).metadata(0).earlier == ()
    assert StudyView(chain).metadata(3).earlier == (1,)
    assert StudyView(chain).metadata(5).earlier == (4, 2, 0)


def test_what_another_trial_continues_is_superseded(chain: Trials) -> None:
    assert StudyView(chain).superseded() == {0, 1, 2, 4}
    assert StudyView(chain[:2]).superseded() == set()


@pytest.mark.parametrize(
    ("by", "expected"), [([], set()), ([5], {0, 2, 4}), ([3], {1}), ([0, 2, 3], {0, 1})]
)
def test_attempts_are_outdone_also_by_way_of_others(
    chain: Trials, by: list[int], expected: set[int]
) -> None:
    assert StudyView(chain).superseded_ancestors(by=[chain[number] for number in by]) == expected


def test_all_attempts_at_a_configuration_have_the_same_parameters(chain: Trials) -> None:
    assert chain[0].params == chain[2].params == chain[4].params
    assert chain[1].params == chain[3].params
    assert chain[0].params != chain[1].params


# What counts.


def test_a_budget_counts_what_is_over_for_good(study: optuna.Study, space: Space) -> None:
    enqueue_missing(study, space)
    ended(study, space, "")
    ended(study, space, f"{FailureKind.INTERRUPTED}: time budget of 1 h", 0.2)
    ended(study, space, FailureKind.WORKER_LOST)
    over = [
        ended(study, space, "", 0.3),
        ended(study, space, "oom: 8.10 GB used, budget 8 GB"),
    ]
    complete = begun(study, space, 0.5)
    study.tell(complete, 0.5)
    begun(study, space, 0.5)
    enqueue_missing(study, space)
    assert [t.number for t in StudyView(study.get_trials()).finished()] == [
        0,
        *over,
        complete.number,
    ]


def test_the_best_so_far_never_falls(study: optuna.Study, space: Space) -> None:
    trial = begun(study, space, 0.4, 0.5, 0.3, 0.45, 0.6)
    (found,) = (t for t in study.get_trials() if t.number == trial.number)
    assert best_so_far(found) == {1: 0.4, 2: 0.5, 3: 0.5, 4: 0.5, 5: 0.6}


def test_a_scheduler_compares_with_every_configuration_once(
    study: optuna.Study, space: Space, tmp_path: Path
) -> None:
    expected: dict[int, dict[int, float]] = {}
    expected[ended(study, space, "", 0.1 + 0.2, 1 / 3)] = {1: 0.1 + 0.2, 2: 1 / 3}
    cut_short = ended(study, space, f"{FailureKind.INTERRUPTED}: Ctrl-C", 0.9, 0.8)
    expected[cut_short] = {1: 0.9, 2: 0.8, 3: 0.7}
    again = begun(study, space, 0.9, 0.8, 0.7)
    again.set_user_attr(CONTINUES, cut_short)
    study.tell(again, 0.7)
    expected[ended(study, space, FailureKind.WORKER_LOST, 0.9)] = {1: 0.9}
    expected[ended(study, space, "nan: the loss became nan", 0.4)] = {1: 0.4}
    ended(study, space, "oom: 8.10 GB used, budget 8 GB")
    complete = begun(study, space, 0.5, 0.6)
    study.tell(complete, 0.6)
    expected[complete.number] = {1: 0.5, 2: 0.6}
    begun(study, space, 0.7)
    assert StudyView(load_study(tmp_path).get_trials()).rung_values() == expected


def test_an_empty_study_holds_nothing() -> None:
    view = StudyView([])
    assert not view.finished()
    assert not view.rung_values()
    assert not view.superseded()


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
def test_values_by_epoch_are_kept_whether_there_is_one_objective_or_two(
    tmp_path: Path, space: Space, directions: list[Any]
) -> None:
    study = open_study(tmp_path, "tiny", directions)
    trial = study.ask()
    assert curve(study.trials[0]) == {}
    for epoch, value in enumerate((0.3, 0.5), start=1):
        keep_value(trial, epoch, value)
    study.tell(trial, [0.5, 7.0][: len(directions)])
    assert curve(load_study(tmp_path).trials[0]) == {1: 0.3, 2: 0.5}
    assert StudyView(study.trials).rung_values() == {0: {1: 0.3, 2: 0.5}}
