from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from tests.tuning.reasons import recorded
from tuning.records import FAILURE, RESTARTED, FailureKind
from tuning.space import Space
from tuning.study.attributes import AT_EPOCH, CLONES, CONTINUES, REPLACES, donor
from tuning.study.run_folder import open_study
from tuning.study.view import StudyView

Trials = list[optuna.trial.FrozenTrial]


def clone(donor: int, epoch: int, replaces: int) -> dict[str, int]:
    return {CLONES: donor, AT_EPOCH: epoch, REPLACES: replaces}


@pytest.fixture
def trials(tmp_path: Path, tiny_space: Space) -> Trials:
    """A donor (0, cut short and continued as 3), one that gave way (1), its clone (4), ...

    ... a clone of that clone (5, in the place of 2), one that failed (6), and one at work (7).
    """
    study = open_study(tmp_path, "tiny")
    cut = {FAILURE: recorded(f"{FailureKind.INTERRUPTED}: Ctrl-C")}
    rows: list[tuple[dict[str, Any], dict[int, float], TrialState | None]] = [
        (cut, {1: 0.5, 2: 0.6}, TrialState.FAIL),
        ({}, {1: 0.2, 2: 0.3}, TrialState.PRUNED),
        ({}, {1: 0.1, 2: 0.4, 3: 0.4}, TrialState.PRUNED),
        ({CONTINUES: 0}, {1: 0.5, 2: 0.6, 3: 0.7}, TrialState.COMPLETE),
        (clone(0, 2, replaces=1), {3: 0.8}, TrialState.COMPLETE),
        (clone(4, 3, replaces=2), {4: 0.9}, TrialState.COMPLETE),
        ({FAILURE: recorded("nan: the loss")}, {1: 0.9, 2: 0.9}, TrialState.FAIL),
        ({}, {1: 0.3}, None),
    ]
    for attributes, values, state in rows:
        trial = study.ask()
        tiny_space.suggest(trial)
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
        for epoch, objective in values.items():
            trial.report(objective, epoch)
        if state:
            study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state)
    return study.get_trials(deepcopy=False)


def test_all_attempts_at_a_configuration_have_its_name(trials: Trials) -> None:
    assert StudyView(trials).origins == {0: 0, 1: 1, 2: 2, 3: 0, 4: 4, 5: 5, 6: 6, 7: 7}


def test_a_configuration_has_come_to_an_epoch_once_unless_it_failed(trials: Trials) -> None:
    found = StudyView(trials).reached(2)
    assert sorted(found) == [0, 1, 2]
    assert found[0].intermediate_values[2] == 0.6
    assert sorted(StudyView(trials).reached(3)) == [0, 2, 4]


def test_what_is_at_work_queued_or_cut_short_is_open(trials: Trials) -> None:
    assert StudyView(trials).open_configurations() == {7}
    assert StudyView(trials[:3]).open_configurations() == {0}


def test_a_place_that_a_clone_has_taken_is_not_free(trials: Trials) -> None:
    assert StudyView(trials).without_successor() == []
    assert [trial.number for trial in StudyView(trials[:5]).without_successor()] == [2]


def test_a_descent_names_every_configuration_with_its_last_epoch(trials: Trials) -> None:
    assert [StudyView(trials).descent(number) for number in (3, 4, 5)] == [
        [],
        [(0, 2)],
        [(0, 2), (4, 3)],
    ]


def test_ancestors_are_the_configurations_of_a_descent(trials: Trials, tiny_space: Space) -> None:
    found = StudyView(trials).ancestors(tiny_space, 5)
    assert [epoch for _, epoch in found] == [2, 3]
    assert [config.seed for config, _ in found] == [tiny_space.base.seed, tiny_space.base.seed + 4]
    assert found[0][0].optimizer.mlp_lr == trials[0].params["optimizer.mlp_lr"]


def test_a_clone_that_started_from_scratch_descends_from_no_trial() -> None:
    attributes = clone(0, 2, replaces=1)
    restarted = {**attributes, RESTARTED: "trial 0 left nothing of epoch 2"}
    trials = [create_trial(value=0.5, user_attrs=attrs) for attrs in (attributes, restarted, {})]
    assert [donor(trial) for trial in trials] == [(0, 2), None, None]
