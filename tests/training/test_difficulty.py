from __future__ import annotations

import numpy as np
import pytest

from quantum_rerank.training.difficulty import Difficulty

ROWS = np.arange(4)


def after(*losses: list[float], weight: float = 1.0) -> Difficulty:
    """What is remembered of a domain of 4 queries, the second of two."""
    difficulty = Difficulty([2, 4], weight)
    for values in losses:
        difficulty.remember(1, ROWS, np.array(values))
    return difficulty


def test_queries_are_drawn_in_proportion_to_their_loss() -> None:
    np.testing.assert_allclose(after([4.0, 2.0, 1.0, 1.0]).shares(1), [0.5, 0.25, 0.125, 0.125])


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
def test_the_weight_leads_from_equal_shares_to_those_of_the_losses(weight: float) -> None:
    shares = after([4.0, 2.0, 1.0, 1.0], weight=weight).shares(1)
    assert shares is not None
    assert shares.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(
        shares, (1 - weight) * 0.25 + weight * np.array([0.5, 0.25, 0.125, 0.125])
    )


@pytest.mark.parametrize(
    "difficulty",
    [Difficulty([2, 4], 1.0), after([1.0, 2.0, 3.0, 4.0], weight=0.0), after([0.0] * 4)],
    ids=["nothing known", "no weight", "nothing left to learn"],
)
def test_queries_come_alike_where_nothing_tells_them_apart(difficulty: Difficulty) -> None:
    assert difficulty.shares(1) is None


def test_a_newer_loss_counts_for_more_than_older_ones() -> None:
    up, down = (
        after(*losses).shares(1)
        for losses in ([[1.0] * 4, [3.0, 1, 1, 1]], [[3.0, 1, 1, 1], [1.0] * 4])
    )
    assert up is not None
    assert down is not None
    assert up[0] == pytest.approx(2 / 5)
    assert after([3.0, 1, 1, 1], [1.0] * 4, [1.0] * 4).shares(1)[0] < down[0]  # type: ignore[index]


def test_a_query_never_trained_on_counts_as_the_mean_and_domains_do_not_mix() -> None:
    difficulty = Difficulty([2, 4], 1.0)
    difficulty.remember(1, np.array([2, 0]), np.array([3.0, 1.0]))
    np.testing.assert_allclose(difficulty.shares(1), [1 / 8, 2 / 8, 3 / 8, 2 / 8])
    assert difficulty.shares(0) is None


def test_a_loss_that_rounding_leaves_below_nothing_gives_no_negative_share() -> None:
    shares = after([1.0, 1.0, 2.0, -1e-8]).shares(1)
    assert shares is not None
    np.testing.assert_array_equal(shares, [0.25, 0.25, 0.5, 0.0])
