from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.evaluation import NDCG
from quantum_rerank.training.trial_data import TrialData
from tuning.conclusion.conclude import load_best
from tuning.conclusion.race import Confirmed, Race, error_of_mean
from tuning.conclusion.selection import query_error, select
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.study.run_folder import load_study

REFERENCE = 1
QUERY_ERROR = 0.01


@pytest.fixture
def best(ended_run: Path) -> list[TrainedTrial]:
    return load_best(load_study(ended_run).trials, 2, ended_run, [])


def race_of(reference: int | None = REFERENCE) -> Race:
    return Race(1 / 3, reference, lambda _, __: QUERY_ERROR)


def numbers(confirmed: Sequence[Confirmed]) -> list[int]:
    return [one.trial.number for one in confirmed]


@pytest.mark.parametrize(
    ("lead", "reference", "racing"),
    [
        (-0.5, REFERENCE, [1]),  # nobody is ahead
        (-0.2, REFERENCE, [1]),  # it may come ahead, but hardly by more than the error
        (1.0, REFERENCE, [9, 1]),
        (2.0, REFERENCE, [9]),  # the reference is clearly behind
        (0.5, None, [9, 1]),
        (0.5, 7, [9, 1]),  # another one, which has failed
    ],
)
def test_the_reference_races_until_it_has_won_or_lost(
    best: list[TrainedTrial], lead: float, reference: int | None, racing: list[int]
) -> None:
    ahead = lead * QUERY_ERROR
    challenger = Confirmed(replace(best[0], number=9), (0.5 + ahead, 0.6 + ahead))
    known = Confirmed(replace(best[1], number=REFERENCE), (0.5, 0.6))
    confirmed = sorted([challenger, known], key=lambda one: -one.mean)
    assert numbers(race_of(reference).still_in(confirmed, 5)) == racing


def test_a_trial_that_a_challenger_is_clearly_ahead_of_is_out_and_the_reference_is_not(
    best: list[TrainedTrial],
) -> None:
    """Its differences are compared with the error over queries, as at the end."""
    values = {9: 0.515, 8: 0.501, REFERENCE: 0.5}
    confirmed = [Confirmed(replace(best[0], number=n), (v, v)) for n, v in values.items()]
    assert numbers(race_of().still_in(confirmed, 5)) == [9, REFERENCE]


def test_the_reference_wins_where_it_is_left_alone(
    best: list[TrainedTrial], trial_data: TrialData
) -> None:
    unfused = replace(best[0].validation, fusion_weight=1.0)
    challenger = replace(best[0], number=9, validation=unfused)
    known = replace(best[1], number=REFERENCE)
    error = query_error(challenger, known, trial_data, NDCG)
    race = Race(1 / 3, REFERENCE, lambda _, __: error)
    ended = set()
    for ahead in np.linspace(-4.0, 4.0, 81) * error:
        left = Confirmed(challenger, (0.5 + ahead, 0.6 + ahead))
        confirmed = sorted([left, Confirmed(known, (0.5, 0.6))], key=lambda one: -one.mean)
        racing = race.still_in(confirmed, 5)
        if len(racing) == 1:
            chosen, _ = select(confirmed, REFERENCE, trial_data, NDCG)
            assert numbers(racing)[0] == numbers(chosen)[0]
            ended.add(numbers(chosen)[0])
    assert ended == {REFERENCE, 9}


def test_seeds_that_agree_by_chance_do_not_end_a_race(best: list[TrainedTrial]) -> None:
    left, right = Confirmed(best[0], (0.5, 0.5)), Confirmed(best[1], (0.495, 0.495))
    assert race_of(None).still_in([left, right], 5) == [left, right]


def test_the_error_of_few_divisions_is_corrected_for_what_they_share() -> None:
    differences = [0.01, 0.03, 0.02]
    expected = 0.01 * math.sqrt(1 / 3 + 0.25)
    assert error_of_mean(differences, 0.25, 0.001) == pytest.approx(expected)
    assert error_of_mean([0.02, 0.02], 0.25, 0.004) == pytest.approx(0.004 * math.sqrt(0.75))


def test_what_all_trials_lose_on_a_division_decides_nothing(best: list[TrainedTrial]) -> None:
    hard, easy = 0.3, 0.7  # divisions
    left = Confirmed(best[0], (hard + 0.02, easy + 0.02))
    right = Confirmed(best[1], (hard, easy))
    close = Confirmed(best[1], (hard + 0.015, easy + 0.015))
    behind = Confirmed(best[1], (hard - 0.02, easy - 0.02))
    assert race_of(None).still_in([left, right, behind], 5) == [left]
    assert race_of(None).still_in([left, close], 5) == [left, close]


def test_mean_and_spread_are_those_of_the_seeds(best: list[TrainedTrial]) -> None:
    one = Confirmed(best[0], (0.4, 0.5, 0.6))
    assert (one.mean, one.spread) == (pytest.approx(0.5), pytest.approx(0.1))
    assert Confirmed(best[0], (0.4,)).spread == 0.0
