from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from quantum_rerank.training.config import TrainingConfig
from quantum_rerank.training.early_stopping import EarlyStopping
from quantum_rerank.training.target_table import verdict_table
from quantum_rerank.training.targets import (
    TEST,
    TRAIN,
    UNSEEN_TEST,
    UNSEEN_VALIDATION,
    VALIDATION,
    Course,
    Seeds,
    Standing,
    TargetResult,
    as_record,
    convergence,
    cross_domain,
    generalisation,
    improvement,
    overfitting_gap,
    peak_memory,
    stability,
    training_time,
    unseen_gain,
    verdicts,
)

GOOD = {
    TRAIN: Standing(0.62, 0.50),
    VALIDATION: Standing(0.60, 0.50),
    UNSEEN_VALIDATION: Standing(0.41, 0.40),
    TEST: Standing(0.59, 0.50),
    UNSEEN_TEST: Standing(0.31, 0.30),
}
RESTED = Course(3, (0.50, 0.55, 0.60, *[0.60] * 10), seconds=90.0, peak_memory_gb=0.8)
SEEDS = Seeds((0.50, 0.51, 0.52), cosine=0.45)


def test_a_training_that_does_all_that_is_asked_passes_every_target() -> None:
    found = verdicts(GOOD, RESTED, SEEDS)
    assert [one.passed for one in found] == [True] * 9
    assert len({one.name for one in found}) == 9


def test_what_was_not_measured_is_neither_passed_nor_failed() -> None:
    found = verdicts({}, Course())
    assert {one.passed for one in found} == {None}
    assert all(one.value is None and one.note for one in found)


@pytest.mark.parametrize(
    ("verdict", "at", "beyond"),
    [
        (lambda v: overfitting_gap(Standing(0.5 + v, 0.5), Standing(0.5, 0.5)), 0.05, 0.051),
        (lambda v: generalisation(Standing(1.0, 0.5), Standing(v, 0.5)), 0.8, 0.799),
        (lambda v: cross_domain(Standing(0.5, 0.5), Standing(v, 1.0)), 0.7, 0.699),
        (lambda v: unseen_gain(Standing(v, 1.0)), 1.0, 0.999),
        (lambda v: improvement(Standing(v, 1.0)), 1.1501, 1.149),
        (peak_memory, 7.999, 8.0),
        (training_time, 86_399.0, 86_400.0),
        (lambda v: stability(Seeds((1.0 - v, 1.0 + v), 0.0)), 0.353, 0.354),
        (lambda v: convergence(replace(RESTED, best_epoch=v)), 100, 101),
    ],
    ids=lambda value: None,
)
def test_a_target_ends_where_it_says(verdict: object, at: float, beyond: float) -> None:
    assert callable(verdict)
    passes, fails = verdict(at), verdict(beyond)
    # 0.5 + 0.05 - 0.5 is a little above 0.05 in binary: a gap below it stands for the limit.
    if passes.name == "overfitting gap":
        passes = verdict(at - 1e-12)
    assert (passes.outcome, fails.outcome) == ("pass", "fail")


@pytest.mark.parametrize("values", [(0.4, 0.5, 0.5, 0.5), (0.4, 0.5, 0.5005, 0.5009), (0.4, 0.3)])
def test_a_training_that_early_stopping_ended_has_come_to_rest(values: tuple[float, ...]) -> None:
    stopping, seen = (
        EarlyStopping(TrainingConfig(early_stopping_patience=3, min_improvement=0.001)),
        list[float](),
    )
    while not stopping.should_stop(value := values[min(len(seen), len(values) - 1)]):
        seen.append(max([value, *seen[-1:]]))
    seen.append(max(value, *seen))
    best = seen.index(max(seen)) + 1
    assert convergence(Course(best, tuple(seen), patience=3)).passed is True


def test_a_curve_that_was_cut_off_while_it_rose_has_not_converged() -> None:
    rising = tuple(0.4 + 0.01 * epoch for epoch in range(30))
    found = convergence(Course(30, rising))
    assert found.outcome == "fail"
    assert "still rising" in found.note


def test_a_patience_that_was_to_stop_nothing_asks_for_no_longer_rest() -> None:
    rested = (*(0.4 + 0.01 * epoch for epoch in range(20)), *[0.59] * 10)
    assert convergence(Course(20, rested, patience=30)).passed is True
    assert convergence(Course(20, rested[:-1], patience=30)).passed is False


def test_few_epochs_without_a_rise_are_no_plateau_yet() -> None:
    assert convergence(Course(1, (0.5, 0.5))).outcome == "not known"
    assert convergence(Course(3)).outcome == "not known"


def test_the_unseen_test_domains_count_before_those_that_were_chosen_on() -> None:
    def value(standings: dict[str, Standing]) -> float | None:
        return next(v.value for v in verdicts(standings, RESTED) if v.name == "cross-domain")

    assert value(GOOD) == pytest.approx((0.31 / 0.30) / (0.59 / 0.50))
    chosen_on = {role: one for role, one in GOOD.items() if role != UNSEEN_TEST}
    assert value(chosen_on) == pytest.approx((0.41 / 0.40) / (0.59 / 0.50))


def test_a_ratio_to_the_cosine_does_not_depend_on_how_hard_a_domain_is() -> None:
    easy, hard = Standing(0.88, 0.80), Standing(0.22, 0.20)
    assert cross_domain(easy, hard).value == pytest.approx(1.0)
    assert cross_domain(Standing(0.5, 0.5), Standing(0.4, 0.4)).value == pytest.approx(1.0)


def test_nothing_is_divided_by_zero() -> None:
    nothing = Standing(0.0, 0.0)
    found = verdicts(dict.fromkeys(GOOD, nothing), RESTED, Seeds((0.0, 0.0), 0.0))
    assert {v.outcome for v in found if v.name in ("cross-domain", "generalisation")} == {
        "not known"
    }
    assert json.loads(json.dumps(as_record(found), allow_nan=False)) == as_record(found)


def test_a_spread_without_a_gain_is_not_stable() -> None:
    assert stability(Seeds((0.4, 0.5), cosine=0.45)).outcome == "fail"


def test_the_table_has_every_target_with_its_value_and_formula() -> None:
    found = [*verdicts(GOOD, RESTED), TargetResult("another", 1.0, ">=", 2.0, False, "a formula")]
    console = Console(file=(file := StringIO()), width=250)
    console.print(verdict_table("Targets", found))
    title, _, *rows = file.getvalue().splitlines()
    assert title.startswith("Targets")
    assert len(rows) == len(found)
    for row, one in zip(rows, found, strict=True):
        assert row.strip().startswith(one.name)
        assert one.outcome in row
        assert one.formula in row
