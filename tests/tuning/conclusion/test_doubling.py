from __future__ import annotations

from itertools import combinations
from statistics import fmean

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tuning.conclusion.doubling import doubling, expected_best
from tuning.records import CHECKPOINT
from tuning.study.attributes import START_POINT


def trials(proposed: list[float], start: list[float]) -> list[FrozenTrial]:
    """Return trials with one epoch each, those of start points first."""
    return [
        optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            value=value,
            intermediate_values={1: value},
            user_attrs={CHECKPOINT: 1} | ({START_POINT: number} if number < len(start) else {}),
        )
        for number, value in enumerate([*start, *proposed])
    ]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_expected_best_is_the_mean_over_all_choices(n: int) -> None:
    values = list(np.random.default_rng(0).random(5))
    by_hand = fmean(max(chosen) for chosen in combinations(values, n))
    assert expected_best(values, n) == pytest.approx(by_hand)


def test_start_points_count_in_both_halves() -> None:
    found = doubling(trials([0.1, 0.2, 0.3, 0.6], start=[0.5]))
    assert found is not None
    assert (found.n, found.whole) == (4, 0.6)
    assert found.half == pytest.approx(0.55)  # half of the pairs have the best one


def test_proposals_below_the_start_point_bring_nothing() -> None:
    found = doubling(trials([0.1, 0.2, 0.3, 0.4], start=[0.5]))
    assert found is not None
    assert (found.half, found.whole) == (0.5, 0.5)


def test_few_proposals_say_nothing() -> None:
    assert doubling(trials([0.1, 0.2, 0.3], start=[0.5])) is None
    assert doubling([]) is None
