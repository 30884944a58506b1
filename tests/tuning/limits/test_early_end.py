"""Rule that ends a search early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tuning.limits.early_end import EarlyEnd, LittleToGain, expected_gain
from tuning.records import CHECKPOINT
from tuning.space import Budget, Objective, SamplerConfig, SchedulerConfig, Space
from tuning.study.attributes import START_POINT
from tuning.study.view import StudyView

FLAT = [0.50] * 15 + [0.502]
RISING = [0.30 + 0.02 * n for n in range(16)]


def view(proposed: Sequence[float], start: Sequence[float] = (0.51,)) -> StudyView:
    """Return a study of pruned trials with one epoch each, those of start points first."""
    return StudyView(
        [
            optuna.trial.create_trial(
                state=TrialState.PRUNED,
                value=value,
                intermediate_values={1: value},
                user_attrs={CHECKPOINT: 1} | ({START_POINT: n} if n < len(start) else {}),
            )
            for n, value in enumerate([*start, *proposed])
        ]
    )


def numbered(study: StudyView) -> StudyView:
    """Return a study whose trials have their numbers."""
    for number, trial in enumerate(study):
        trial.number = number
    return study


@pytest.fixture
def rule(tiny_space: Space) -> Callable[..., EarlyEnd]:
    def make(error: float | None = 0.01, **header: Any) -> EarlyEnd:
        changes = {"budget": Budget(trials=100, epochs=3), **header}
        space = Space(
            tiny_space.header.model_copy(update=changes), tiny_space.base, tiny_space.parameters
        )
        return EarlyEnd(space, lambda _, __: error)

    return make


def test_a_search_ends_once_the_rest_adds_less_than_the_error(
    rule: Callable[..., EarlyEnd],
) -> None:
    found = rule(0.01)(numbered(view(FLAT)))
    assert found == LittleToGain(17, 83, expected_gain(FLAT, 83), 0.01)
    assert "after 17 of 100" in str(found)


def test_it_goes_on_while_the_proposals_rise(rule: Callable[..., EarlyEnd]) -> None:
    assert rule(0.01)(numbered(view(RISING, start=(0.9,)))) is None
    assert rule(1.0)(numbered(view(RISING))) is not None


def test_the_gain_of_each_doubling_to_come_is_that_of_the_last_one() -> None:
    values = [0.0] * 7 + [1.0]  # half of the proposals have the best one with probability 1/2
    assert expected_gain(values, 8) == pytest.approx(0.5)
    assert expected_gain(values, 24) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("proposed", "header"),
    [
        (FLAT[:15], {}),
        (FLAT, {"sampler": SamplerConfig(startup_trials=9)}),
        (FLAT, {"budget": Budget(trials=100, epochs=3, early_end=False)}),
        (FLAT, {"budget": Budget(trials=17, epochs=3)}),
        (FLAT, {"objective": Objective(cost="parameters")}),
        (FLAT, {"sampler": SamplerConfig(name="grid", startup_trials=0)}),
        (FLAT, {"scheduler": SchedulerConfig(name="pbt")}),
        ([], {}),
    ],
    ids=["few", "startup", "off", "budget", "cost", "grid", "pbt", "none"],
)
def test_it_does_not_end_early(
    rule: Callable[..., EarlyEnd], proposed: list[float], header: dict[str, Any]
) -> None:
    study = numbered(view(proposed))
    assert rule(0.01, **header)(study) is None


def test_it_goes_on_where_weights_are_gone(rule: Callable[..., EarlyEnd]) -> None:
    assert rule(None)(numbered(view(FLAT))) is None


@pytest.mark.parametrize(
    ("start", "pair"),
    [
        ((0.9, 0.8), (0, 1)),  # the first start point leads: the second best
        ((0.8, 0.9), (1, 0)),  # another start point leads: the first one
        ((0.1, 0.2), (17, 0)),  # a proposal leads: the first start point
        ((), (15, 0)),  # no start point: the second best
    ],
)
def test_the_best_trial_is_compared_with_the_first_start_point(
    tiny_space: Space, start: tuple[float, ...], pair: tuple[int, int]
) -> None:
    compared: list[tuple[int, int]] = []

    def error(left: FrozenTrial, right: FrozenTrial) -> float:
        compared.append((left.number, right.number))
        return 1.0

    header = tiny_space.header.model_copy(update={"budget": Budget(trials=100, epochs=3)})
    rule = EarlyEnd(Space(header, tiny_space.base, tiny_space.parameters), error)
    study = numbered(view(FLAT, start))
    assert rule(study) is rule(study) is not None
    assert compared == [pair]  # once, though it was asked twice
