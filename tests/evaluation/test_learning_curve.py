"""The gain of twice as many queries: truths about lines, and a simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest

from quantum_rerank.evaluation.learning_curve import gain_of_doubling

SIZES = [10, 20, 40]


def values(of: np.ndarray) -> list[list[dict[str, float]]]:
    """Return (sizes, seeds, queries) values by query."""
    return [[dict(zip(map(str, range(len(q))), q, strict=True)) for q in size] for size in of]


def domains(n_queries: int, name: str = "") -> dict[str, str]:
    return {str(query): name for query in range(n_queries)}


def test_a_line_over_doublings_is_found_without_an_interval() -> None:
    line = np.array([0.1, 0.15, 0.2])[:, None, None] + np.zeros((3, 3, 5))
    gain = gain_of_doubling(SIZES, values(line), domains(5))
    assert (gain.gain, gain.low, gain.high) == pytest.approx((0.05, 0.05, 0.05))


def test_a_gain_of_every_domain_counts_the_same() -> None:
    slopes = np.array([0.1, 0.1, 0.1, 0.4])
    measured = np.log2(SIZES)[:, None, None] * slopes + np.zeros((3, 2, 4))
    of = {"0": "a", "1": "a", "2": "a", "3": "b"}
    assert gain_of_doubling(SIZES, values(measured), {"0": "a", "1": "a"}).gain == pytest.approx(
        0.1
    )
    # A domain of a single query has no variance: its queries are taken as one domain.
    assert gain_of_doubling(SIZES, values(measured), of).gain == pytest.approx(0.175)


def test_unequal_steps_are_fitted_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    measured = rng.random((3, 1, 1))
    gain = gain_of_doubling([10, 30, 100], values(measured), domains(1)).gain
    slope = np.polyfit(np.log2([10, 30, 100]), measured[:, 0, 0], 1)[0]
    assert gain == pytest.approx(slope)


def test_the_interval_holds_the_true_gain_about_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(200):
        of_queries, of_seeds = 0.05 * rng.normal(size=40), 0.01 * rng.normal(size=(3, 1))
        slopes = 0.02 + of_queries + of_seeds + 0.05 * rng.normal(size=(3, 40))
        measured = np.log2(SIZES)[:, None, None] * slopes
        gain = gain_of_doubling(SIZES, values(measured), domains(40))
        inside += gain.low <= 0.02 <= gain.high
    assert 0.92 <= inside / 200 <= 1.0
