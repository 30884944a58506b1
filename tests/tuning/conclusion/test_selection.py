from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.comparison import paired_standard_error
from quantum_rerank.training.trial_data import TrialData
from tuning.conclusion.conclude import load_best, reference_of, with_reference
from tuning.conclusion.race import Confirmed, validation_ratio
from tuning.conclusion.selection import (
    Selection,
    lead,
    query_error,
    select,
    standard_error,
)
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.study import attributes
from tuning.study.run_folder import load_study
from tuning.study.view import StudyView


@pytest.fixture
def trials(ended_run: Path) -> list[TrainedTrial]:
    return load_best(load_study(ended_run).trials, 3, ended_run, [])


def at(trial: TrainedTrial, number: int, mean: float) -> Confirmed:
    return Confirmed(replace(trial, number=number), (mean,))


def test_the_standard_error_is_that_of_the_mean_difference() -> None:
    rng = np.random.default_rng(0)
    left = {f"q{n}": float(value) for n, value in enumerate(rng.random(50))}
    right = {f"q{n}": float(value) for n, value in enumerate(rng.random(50))}
    differences = np.array([left[q] - right[q] for q in left])
    expected = differences.std(ddof=1) / math.sqrt(50)
    assert paired_standard_error(left, right) == pytest.approx(expected)


def test_each_domain_counts_the_same_in_the_standard_error() -> None:
    left = {"a/1": 1.0, "a/2": 0.0, "b/1": 0.5, "b/2": 0.5, "b/3": 0.5}
    right = dict.fromkeys(left, 0.0)
    domains = {query: query[0] for query in left}
    # Domain b has no variance; that of a is 0.5 / 2.
    assert paired_standard_error(left, right, domains) == pytest.approx(math.sqrt(0.25) / 2)


def test_of_a_single_query_no_error_is_known() -> None:
    assert paired_standard_error({"a": 1.0}, {"a": 0.0}) == math.inf
    with pytest.raises(ValueError, match="share no query"):
        paired_standard_error({"a": 1.0}, {"b": 0.0})


def test_a_reference_that_leads_is_the_winner(
    trials: list[TrainedTrial], trial_data: TrialData
) -> None:
    order = [at(trials[0], 1, 0.6), at(trials[1], 2, 0.5)]
    assert select(order, 1, trial_data, NDCG) == (order, None)
    assert select(order, None, trial_data, NDCG) == (order, None)


def test_without_a_reference_among_the_best_the_leader_is_the_winner(
    trials: list[TrainedTrial], trial_data: TrialData
) -> None:
    order = [at(trials[0], 1, 0.6), at(trials[1], 2, 0.5)]
    assert select(order, 7, trial_data, NDCG) == (order, None)
    assert select([], 7, trial_data, NDCG) == ([], None)


@pytest.mark.parametrize(("errors", "winner"), [(0.5, 2), (1.5, 9)])
def test_the_reference_is_replaced_only_from_more_than_a_standard_error_on(
    trials: list[TrainedTrial], trial_data: TrialData, errors: float, winner: int
) -> None:
    unfused = replace(trials[0].validation, fusion_weight=1.0)  # ranks by the affinity alone
    left = replace(trials[0], number=9, validation=unfused)
    right = replace(trials[1], number=2)
    error = query_error(left, right, trial_data, NDCG)
    assert 0.0 < error < math.inf
    between = at(trials[2], 5, 0.5 + 0.9 * errors * error)
    order = [Confirmed(left, (0.5 + errors * error,)), between, Confirmed(right, (0.5,))]
    chosen, selection = select(order, 2, trial_data, NDCG)
    assert chosen[0].trial.number == winner
    assert {one.trial.number for one in chosen} == {9, 5, 2}
    assert selection is not None
    assert (selection.leader, selection.reference) == (9, 2)
    assert selection.lead == pytest.approx(errors * error)
    assert selection.is_distinguishable == (winner == 9)
    assert ("not distinguishable" in str(selection)) == (winner == 2)
    assert selection.as_record()["is_distinguishable"] == (winner == 9)


def test_over_divisions_the_lead_is_paired_and_its_error_smaller(
    trials: list[TrainedTrial], trial_data: TrialData
) -> None:
    unfused = replace(trials[0].validation, fusion_weight=1.0)
    left = Confirmed(replace(trials[0], validation=unfused), (0.5, 0.7, 0.6, 0.4, 0.8))
    right = Confirmed(trials[1], (0.4, 0.6))  # its race ended
    assert lead(left, right) == pytest.approx(0.1)
    alone = query_error(left.trial, right.trial, trial_data, NDCG)
    all_five = Confirmed(trials[1], (0.4, 0.6, 0.5, 0.3, 0.7))
    ratio = validation_ratio(trial_data)
    for other, n in ((right, 2), (all_five, 5)):
        error = standard_error(left, other, trial_data, NDCG)
        assert error == pytest.approx(alone * math.sqrt(1 / n + ratio))


def test_trials_of_the_same_ranking_are_not_distinguishable(
    trials: list[TrainedTrial], trial_data: TrialData
) -> None:
    order = [at(trials[0], 9, 0.5), at(trials[0], 2, 0.5)]
    chosen, selection = select(order, 2, trial_data, NDCG)
    assert chosen[0].trial.number == 2
    assert selection == Selection(9, 2, 0.0, 0.0)


def started_from(trial: FrozenTrial, point: int | None) -> FrozenTrial:
    """Return a trial as if it were a start point."""
    changed = copy.copy(trial)
    changed.user_attrs = {**trial.user_attrs, attributes.START_POINT: point}
    if point is None:
        del changed.user_attrs[attributes.START_POINT]
    return changed


def test_the_reference_is_the_first_start_point_with_an_objective(ended_run: Path) -> None:
    ranked = StudyView(load_study(ended_run).trials).ranked()
    failed = [t for t in load_study(ended_run).trials if t.state == TrialState.FAIL]
    points = [*map(started_from, ranked, (2, 1, None)), *(started_from(t, 0) for t in failed)]
    assert failed
    assert reference_of(points) == ranked[1].number
    assert reference_of([started_from(trial, None) for trial in ranked]) is None


def test_the_reference_is_among_the_finalists(ended_run: Path) -> None:
    ranked = StudyView(load_study(ended_run).trials).ranked()
    trials = [started_from(trial, None) for trial in ranked[:-1]] + [started_from(ranked[-1], 0)]
    best = load_best(trials, len(trials) - 1, ended_run, [])
    finalists = [trial.number for trial in with_reference(best, trials, ended_run)]
    assert finalists == [*(trial.number for trial in best[:-1]), ranked[-1].number]
    alone = with_reference(best[:1], trials, ended_run)
    assert [trial.number for trial in alone] == [best[0].number]


def test_a_reference_whose_weights_are_gone_is_no_finalist(
    ended_run: Path, remove_weights: Callable[[int], None]
) -> None:
    ranked = StudyView(load_study(ended_run).trials).ranked()
    trials = [started_from(trial, None) for trial in ranked[:-1]] + [started_from(ranked[-1], 0)]
    best = load_best(trials, len(trials) - 1, ended_run, [])
    remove_weights(ranked[-1].number)
    assert with_reference(best, trials, ended_run) == best


@pytest.fixture
def remove_weights(ended_run: Path) -> Callable[[int], None]:
    from tuning.study.storage import TRIALS
    from tuning.study.trial_files import TrialFiles

    return TrialFiles(str(ended_run / TRIALS)).remove
