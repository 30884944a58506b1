"""A study whose attributes are of another type, or contradict each other, is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from quantum_rerank.errors import OutputError
from tuning.records import CHECKPOINT, FAILURE, SECONDS, WARM_UP_SAVED
from tuning.study import attributes
from tuning.study.checking import require_sound

SESSION = {"started": "2026-01-01T00:00:00+00:00", "host": "h", "pid": 1, "seconds": 1.0}


def trials(*user_attrs: dict[str, Any]) -> list[FrozenTrial]:
    made = [create_trial(state=TrialState.PRUNED, user_attrs=attrs) for attrs in user_attrs]
    for number, trial in enumerate(made):
        trial.number = number
    return made


def refuse(study: dict[str, Any], made: list[FrozenTrial]) -> str:
    with pytest.raises(OutputError) as caught:
        require_sound(study, made, 1, "study.db")
    message = str(caught.value)
    assert message.startswith("`study.db` is damaged: ") and "\n" not in message
    return message


def test_a_study_as_searches_write_it_is_accepted() -> None:
    failure = {"kind": "oom", "detail": "9 GiB"}
    made = trials(
        {SECONDS: 1.5, CHECKPOINT: 2, attributes.START_POINT: 0},
        {attributes.WARM_START: "/runs/a#b#3"},
        {FAILURE: failure, attributes.CLONES: 0, attributes.AT_EPOCH: 1, attributes.REPLACES: 1},
        {attributes.CONTINUES: 2, attributes.CLONES: 0, attributes.AT_EPOCH: 1},
        {"a key of the user": [1, None]},
    )
    made[0].intermediate_values = {1: 0.5}
    study = {
        "session.0001": {**SESSION, "core_seconds": 0.0, "ended": ""},
        attributes.BUDGET: {"trials": 3, "core_hours": None},
        attributes.CONFIRMED: {"0": {"7": 0.5}},
    }
    require_sound(study, made, 1, "study.db")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (attributes.CONTINUES, "x"),
        (attributes.CONTINUES, -1),
        (attributes.CONTINUES, True),
        (attributes.AT_EPOCH, 0),
        (attributes.WARM_START, "nohash"),
        (attributes.CURVE, {"1": "x"}),
        (attributes.CURVE, {"1": math.nan}),
        (FAILURE, "oom"),
        (FAILURE, {"kind": "unheard of", "detail": ""}),
        (SECONDS, math.inf),
        (WARM_UP_SAVED, -1.0),
        (WARM_UP_SAVED, None),
        (CHECKPOINT, [1]),
    ],
)
def test_an_attribute_of_another_type_is_named_with_its_trial(key: str, value: Any) -> None:
    message = refuse({}, trials({}, {key: value}))
    assert f"`{key}`" in message or f"`{key}." in message
    assert "trial 1" in message


@pytest.mark.parametrize(
    "user_attrs",
    [
        ({attributes.CONTINUES: 1}, {attributes.CONTINUES: 0}),
        ({}, {attributes.CONTINUES: 1}),
        ({}, {attributes.CONTINUES: 10**9}),
        ({attributes.CLONES: 1, attributes.AT_EPOCH: 1}, {}),
        ({}, {attributes.CLONES: 0}),
        # The clone's donor is continued by a clone of the clone.
        (
            {},
            {attributes.CLONES: 0, attributes.AT_EPOCH: 1},
            {attributes.CONTINUES: 0, attributes.CLONES: 1, attributes.AT_EPOCH: 1},
        ),
        ({attributes.REPLACES: 0},),
    ],
)
def test_a_relation_that_does_not_lead_to_an_earlier_trial_is_refused(
    user_attrs: tuple[dict[str, Any], ...],
) -> None:
    assert "trial" in refuse({}, trials(*user_attrs))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("session.0001", {"seconds": "x"}),
        ("session.0001", [1]),
        ("session.0001", {**SESSION, "core_seconds": -1.0}),
        (attributes.BUDGET, 5),
        (attributes.BUDGET, {"trials": "x"}),
        (attributes.CONFIRMED, {"x": {}}),
    ],
)
def test_an_attribute_of_the_study_of_another_type_is_named(key: str, value: Any) -> None:
    assert f"`{key}" in refuse({key: value}, [])


def test_numbers_values_and_epochs_have_to_be_there() -> None:
    made = trials({}, {})
    made[1].number = 5
    assert "trial 1 has the number 5" in refuse({}, made)
    (complete,) = trials({})
    complete.state = TrialState.COMPLETE
    assert "complete with the values" in refuse({}, [complete])
    (reported,) = trials({})
    reported.intermediate_values = {1: math.nan}
    assert "objective nan at epoch 1" in refuse({}, [reported])
