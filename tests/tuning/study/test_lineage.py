from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tuning.records import FAILURE, INTERRUPTED, RESTARTED
from tuning.space import Space
from tuning.study.attributes import AT_EPOCH, CLONES, CONTINUES, REPLACES
from tuning.study.lineage import (
    ancestors,
    came_to,
    descent,
    donor_of,
    open_configurations,
    origins,
    without_successor,
)
from tuning.study.run_folder import open_study

Trials = list[optuna.trial.FrozenTrial]


def clone(donor: int, epoch: int, replaces: int) -> dict[str, int]:
    return {CLONES: donor, AT_EPOCH: epoch, REPLACES: replaces}


@pytest.fixture
def trials(tmp_path: Path, tiny_space: Space) -> Trials:
    """A donor (0, cut short and continued as 3), one that gave way (1), its clone (4), ...

    ... a clone of that clone (5, in the place of 2), one that failed (6), and one at work (7).
    """
    study = open_study(tmp_path, "tiny")
    cut = {FAILURE: f"{INTERRUPTED}: Ctrl-C"}
    rows: list[tuple[dict[str, Any], dict[int, float], TrialState | None]] = [
        (cut, {1: 0.5, 2: 0.6}, TrialState.FAIL),
        ({}, {1: 0.2, 2: 0.3}, TrialState.PRUNED),
        ({}, {1: 0.1, 2: 0.4, 3: 0.4}, TrialState.PRUNED),
        ({CONTINUES: 0}, {1: 0.5, 2: 0.6, 3: 0.7}, TrialState.COMPLETE),
        (clone(0, 2, replaces=1), {3: 0.8}, TrialState.COMPLETE),
        (clone(4, 3, replaces=2), {4: 0.9}, TrialState.COMPLETE),
        ({FAILURE: "nan: the loss"}, {1: 0.9, 2: 0.9}, TrialState.FAIL),
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
    assert origins(trials) == {0: 0, 1: 1, 2: 2, 3: 0, 4: 4, 5: 5, 6: 6, 7: 7}


def test_a_configuration_has_come_to_an_epoch_once_unless_it_failed(trials: Trials) -> None:
    found = came_to(trials, 2)
    assert sorted(found) == [0, 1, 2]
    assert found[0].intermediate_values[2] == 0.6
    assert sorted(came_to(trials, 3)) == [0, 2, 4]


def test_what_is_at_work_queued_or_cut_short_is_open(trials: Trials) -> None:
    assert open_configurations(trials) == {7}
    assert open_configurations(trials[:3]) == {0}


def test_a_place_that_a_clone_has_taken_is_not_free(trials: Trials) -> None:
    assert without_successor(trials) == []
    assert [trial.number for trial in without_successor(trials[:5])] == [2]


def test_a_descent_names_every_configuration_with_its_last_epoch(trials: Trials) -> None:
    assert [descent(trials, number) for number in (3, 4, 5)] == [[], [(0, 2)], [(0, 2), (4, 3)]]


def test_ancestors_are_the_configurations_of_a_descent(trials: Trials, tiny_space: Space) -> None:
    found = ancestors(tiny_space, trials, 5)
    assert [epoch for _, epoch in found] == [2, 3]
    assert [config.seed for config, _ in found] == [tiny_space.base.seed, tiny_space.base.seed + 4]
    assert found[0][0].optimizer.mlp_lr == trials[0].params["optimizer.mlp_lr"]


def test_a_clone_that_started_over_descends_from_nobody() -> None:
    attributes = clone(0, 2, replaces=1)
    assert donor_of(attributes) == (0, 2)
    assert donor_of({**attributes, RESTARTED: "trial 0 left nothing of epoch 2"}) is None
    assert donor_of({}) is None
