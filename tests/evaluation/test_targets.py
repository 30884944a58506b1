from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from quantum_rerank.evaluation.measurements import ModelAndCosine, SeedGains, TrainingSummary
from quantum_rerank.evaluation.roles import TEST, TRAIN, UNSEEN_TEST, UNSEEN_VALIDATION, VALIDATION
from quantum_rerank.evaluation.target_table import target_table
from quantum_rerank.evaluation.targets import (
    TargetResult,
    convergence,
    cross_domain,
    evaluate_targets,
    generalisation,
    improvement,
    overfitting_gap,
    peak_memory,
    stability,
    target_records,
    training_time,
    unseen_gain,
)
from quantum_rerank.training.config import TrainingConfig
from quantum_rerank.training.trainer import EarlyStopping

GOOD = {
    TRAIN: ModelAndCosine(0.62, 0.50),
    VALIDATION: ModelAndCosine(0.60, 0.50),
    UNSEEN_VALIDATION: ModelAndCosine(0.41, 0.40),
    TEST: ModelAndCosine(0.59, 0.50),
    UNSEEN_TEST: ModelAndCosine(0.31, 0.30),
}
RESTED = TrainingSummary(3, (0.50, 0.55, 0.60, *[0.60] * 10), seconds=90.0, peak_memory_gb=0.8)
SEEDS = SeedGains((0.05, 0.06, 0.07))


def test_a_good_training_passes_every_target() -> None:
    results = evaluate_targets(GOOD, RESTED, SEEDS)
    assert [result.passed for result in results] == [True] * 9
    assert len({result.name for result in results}) == 9


def test_a_target_without_a_measurement_is_neither_passed_nor_failed() -> None:
    results = evaluate_targets({}, TrainingSummary())
    assert {result.passed for result in results} == {None}
    assert all(result.value is None and result.note for result in results)


@pytest.mark.parametrize(
    ("check", "at", "beyond"),
    [
        (
            lambda v: overfitting_gap(ModelAndCosine(0.5 + v, 0.5), ModelAndCosine(0.5, 0.5)),
            0.05,
            0.051,
        ),
        (lambda v: generalisation(ModelAndCosine(1.0, 0.5), ModelAndCosine(v, 0.5)), 0.8, 0.799),
        (lambda v: cross_domain(ModelAndCosine(0.5, 0.5), ModelAndCosine(v, 1.0)), 0.7, 0.699),
        (lambda v: unseen_gain(ModelAndCosine(v, 1.0)), 1.0, 0.999),
        (lambda v: improvement(ModelAndCosine(v, 1.0)), 1.1501, 1.149),
        (peak_memory, 7.999, 8.0),
        (training_time, 86_399.0, 86_400.0),
        (lambda v: stability(SeedGains((1.0 - v, 1.0 + v))), 0.353, 0.354),
        (lambda v: convergence(replace(RESTED, best_epoch=v)), 100, 101),
    ],
    ids=lambda value: None,
)
def test_a_target_passes_up_to_its_limit(check: object, at: float, beyond: float) -> None:
    assert callable(check)
    passes, fails = check(at), check(beyond)
    # 0.5 + 0.05 - 0.5 is a little above 0.05 in binary: a gap below it stands for the limit.
    if passes.name == "overfitting gap":
        passes = check(at - 1e-12)
    assert (passes.outcome, fails.outcome) == ("pass", "fail")


@pytest.mark.parametrize("values", [(0.4, 0.5, 0.5, 0.5), (0.4, 0.5, 0.5005, 0.5009), (0.4, 0.3)])
def test_a_training_that_early_stopping_ended_has_converged(values: tuple[float, ...]) -> None:
    config = TrainingConfig(early_stopping_patience=3, min_improvement=0.001)
    stopping, seen = EarlyStopping(config), list[float]()
    while not stopping.should_stop(value := values[min(len(seen), len(values) - 1)]):
        seen.append(max([value, *seen[-1:]]))
    seen.append(max(value, *seen))
    best = seen.index(max(seen)) + 1
    assert convergence(TrainingSummary(best, tuple(seen), patience=3)).passed is True


def test_a_curve_that_ends_while_it_rises_has_not_converged() -> None:
    rising = tuple(0.4 + 0.01 * epoch for epoch in range(30))
    result = convergence(TrainingSummary(30, rising))
    assert result.outcome == "fail"
    assert "still rising" in result.note


def test_a_long_patience_does_not_require_a_longer_plateau() -> None:
    rested = (*(0.4 + 0.01 * epoch for epoch in range(20)), *[0.59] * 10)
    assert convergence(TrainingSummary(20, rested, patience=30)).passed is True
    assert convergence(TrainingSummary(20, rested[:-1], patience=30)).passed is False


def test_few_epochs_without_a_rise_are_not_a_plateau() -> None:
    assert convergence(TrainingSummary(1, (0.5, 0.5))).outcome == "not known"
    assert convergence(TrainingSummary(3)).outcome == "not known"


def test_a_model_in_closed_form_has_converged() -> None:
    assert convergence(TrainingSummary(1, (0.5,), is_closed_form=True)).passed is True


def test_unseen_test_queries_take_precedence_over_unseen_validation_queries() -> None:
    def value(scores: dict[str, ModelAndCosine]) -> float | None:
        return next(v.value for v in evaluate_targets(scores, RESTED) if v.name == "cross-domain")

    assert value(GOOD) == pytest.approx((0.31 / 0.30) / (0.59 / 0.50))
    chosen_on = {role: scores for role, scores in GOOD.items() if role != UNSEEN_TEST}
    assert value(chosen_on) == pytest.approx((0.41 / 0.40) / (0.59 / 0.50))


def test_a_ratio_to_the_cosine_does_not_depend_on_how_hard_a_domain_is() -> None:
    easy, hard = ModelAndCosine(0.88, 0.80), ModelAndCosine(0.22, 0.20)
    assert cross_domain(easy, hard).value == pytest.approx(1.0)
    assert cross_domain(ModelAndCosine(0.5, 0.5), ModelAndCosine(0.4, 0.4)).value == pytest.approx(
        1.0
    )


def test_nothing_is_divided_by_zero() -> None:
    nothing = ModelAndCosine(0.0, 0.0)
    results = evaluate_targets(dict.fromkeys(GOOD, nothing), RESTED, SeedGains((0.0, 0.0)))
    assert {v.outcome for v in results if v.name in ("cross-domain", "generalisation")} == {
        "not known"
    }
    assert json.loads(json.dumps(target_records(results), allow_nan=False)) == target_records(
        results
    )


def test_a_spread_without_a_gain_is_not_stable() -> None:
    assert stability(SeedGains((-0.05, 0.05))).outcome == "fail"


def test_the_table_has_every_target_with_its_value_and_formula() -> None:
    results = [
        *evaluate_targets(GOOD, RESTED),
        TargetResult("another", 1.0, ">=", 2.0, False, "a formula"),
    ]
    console = Console(file=(file := StringIO()), width=250)
    console.print(target_table("Targets", results))
    title, _, *rows = file.getvalue().splitlines()
    assert title.startswith("Targets")
    assert len(rows) == len(results)
    for row, result in zip(rows, results, strict=True):
        assert row.strip().startswith(result.name)
        assert result.outcome in row
        assert result.formula in row
