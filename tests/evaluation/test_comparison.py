from __future__ import annotations

import numpy as np
import pytest

from quantum_rerank.evaluation import compare, holm


def values(rng: np.random.Generator, n: int = 60) -> dict[str, float]:
    return {f"q{i}": float(value) for i, value in enumerate(rng.uniform(0.2, 0.6, n))}


@pytest.fixture
def baseline() -> dict[str, float]:
    return values(np.random.default_rng(0))


@pytest.fixture
def better(baseline: dict[str, float]) -> dict[str, float]:
    noise = np.random.default_rng(1).normal(0.1, 0.05, len(baseline))
    return {q: v + float(e) for (q, v), e in zip(baseline.items(), noise, strict=True)}


def test_identical_systems_do_not_differ(baseline: dict[str, float]) -> None:
    result = compare(baseline, dict(baseline))
    assert (result.difference, result.relative, result.low, result.high) == (0.0, 0.0, 0.0, 0.0)
    assert result.p_value == 1.0
    assert result.n_queries == 60


def test_a_clearly_better_system_has_a_small_p_value(
    baseline: dict[str, float], better: dict[str, float]
) -> None:
    result = compare(better, baseline)
    assert 0.0 < result.low < result.difference < result.high
    assert result.difference == pytest.approx(0.1, abs=0.02)
    assert result.p_value < 0.001


def test_the_sign_follows_the_order_of_the_arguments(
    baseline: dict[str, float], better: dict[str, float]
) -> None:
    forth, back = compare(better, baseline), compare(baseline, better)
    assert forth.difference == pytest.approx(-back.difference)
    assert back.low < back.high < 0.0
    assert back.p_value < 0.001


def test_noise_is_not_a_significant_difference(baseline: dict[str, float]) -> None:
    signs = [1.0, -1.0] * 30
    shaken = {q: v + 0.1 * s for (q, v), s in zip(baseline.items(), signs, strict=True)}
    result = compare(shaken, baseline)
    assert result.low < 0.0 < result.high
    assert result.p_value > 0.5


def test_the_p_value_over_all_sign_flips_equals_a_hand_computed_one() -> None:
    # Six differences of one sign: 2 of the 2**6 assignments of signs are as extreme.
    differences = {f"q{i}": 0.1 + i / 100 for i in range(6)}
    result = compare(differences, dict.fromkeys(differences, 0.0))
    assert result.p_value == pytest.approx(2 / 2**6)


def test_the_relative_difference_is_divided_by_the_mean_of_the_baseline() -> None:
    result = compare({"q": 0.6, "r": 0.6}, {"q": 0.5, "r": 0.3})
    assert result.difference == pytest.approx(0.2)
    assert result.relative == pytest.approx(0.2 / 0.4)


def test_only_shared_queries_are_compared() -> None:
    result = compare({"q": 1.0, "r": 0.5, "x": 0.0}, {"q": 1.0, "r": 0.5, "y": 1.0})
    assert result.n_queries == 2
    assert result.difference == 0.0


def test_one_query_has_the_p_value_one() -> None:
    result = compare({"q": 1.0}, {"q": 0.5})
    assert result.difference == 0.5
    assert result.p_value == 1.0


def test_the_same_difference_everywhere_has_an_interval_of_one_point() -> None:
    baseline = {f"q{i}": i / 16 for i in range(8)}
    result = compare({query: value + 0.25 for query, value in baseline.items()}, baseline)
    assert (result.low, result.high) == (0.25, 0.25)
    assert result.p_value == pytest.approx(2 / 2**8)


def test_the_same_seed_gives_the_same_interval(
    baseline: dict[str, float], better: dict[str, float]
) -> None:
    assert compare(better, baseline, seed=3) == compare(better, baseline, seed=3)


def test_with_domains_each_counts_the_same_as_in_the_table() -> None:
    rng = np.random.default_rng(2)
    large = {f"large{i}": float(v) for i, v in enumerate(rng.normal(-0.01, 0.002, 100))}
    small = {f"small{i}": float(v) for i, v in enumerate(rng.normal(0.06, 0.002, 10))}
    system = large | small
    domains = dict.fromkeys(large, "large") | dict.fromkeys(small, "small")
    result = compare(system, dict.fromkeys(system, 0.0), domains)
    assert result.difference == pytest.approx(0.025, abs=0.002)
    assert 0.0 < result.low < result.difference < result.high
    assert compare(system, dict.fromkeys(system, 0.0)).difference < 0.0


def test_holm_multiplies_the_smallest_by_all_and_the_largest_by_one() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize("values", [[], [0.2], [1.0, 1.0, 1.0], [0.5, 0.001, 0.5, 0.0]])
def test_holm_lowers_no_p_value_keeps_their_order_and_stays_below_one(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(before <= after <= 1.0 for before, after in zip(values, adjusted, strict=True))
    by_value = sorted(zip(values, adjusted, strict=True))
    assert [after for _, after in by_value] == sorted(adjusted)


def test_holm_is_never_harder_than_bonferroni() -> None:
    values = [0.003, 0.02, 0.4, 0.011]
    assert all(one <= min(4 * p, 1.0) for one, p in zip(holm(values), values, strict=True))
