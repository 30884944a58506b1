from __future__ import annotations

from math import log2

import pytest

from quantum_rerank.evaluation import METRICS, Evaluator
from quantum_rerank.evaluation.metrics import MAP, MRR, NDCG, RECALL

# `a` answers best, `b` less well, `z` was judged and is no answer.
QRELS = {"q": {"a": 2, "b": 1, "z": 0}}


def value(ranking: list[str], metric: str) -> float:
    return Evaluator(QRELS).per_query({"q": ranking})[metric]["q"]


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_possible_ranking_scores_one(metric: str) -> None:
    assert value(["a", "b", "x", "z"], metric) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", METRICS)
def test_a_ranking_without_a_relevant_document_scores_zero(metric: str) -> None:
    assert value(["x", "z", "y"], metric) == 0.0


def test_ndcg_counts_linear_gains_discounted_by_rank() -> None:
    dcg = 1 / log2(2 + 1) + 2 / log2(3 + 1)
    ideal = 2 / log2(1 + 1) + 1 / log2(2 + 1)
    assert value(["x", "b", "a"], NDCG) == pytest.approx(dcg / ideal)


def test_ndcg_does_not_look_beyond_rank_10() -> None:
    nothing = [f"x{n}" for n in range(10)]
    assert value([*nothing, "a", "b"], NDCG) == 0.0
    assert value([*nothing[:9], "a"], NDCG) == pytest.approx((2 / log2(11)) / (2 + 1 / log2(3)))


def test_mrr_is_one_over_the_first_relevant_rank_down_to_10() -> None:
    nothing = [f"x{n}" for n in range(10)]
    assert value(["x", "y", "b", "a"], MRR) == pytest.approx(1 / 3)
    assert value([*nothing[:9], "b"], MRR) == pytest.approx(1 / 10)
    assert value([*nothing, "b"], MRR) == 0.0


def test_recall_is_the_share_of_relevant_documents_within_100() -> None:
    nothing = [f"x{n}" for n in range(99)]
    assert value([*nothing, "a", "b"], RECALL) == pytest.approx(1 / 2)


def test_map_averages_precision_at_each_relevant_document() -> None:
    assert value(["x", "a", "y", "b"], MAP) == pytest.approx((1 / 2 + 2 / 4) / 2)
    # A relevant document that never appears counts as precision 0.
    assert value(["x", "a"], MAP) == pytest.approx((1 / 2 + 0) / 2)


def test_a_query_without_a_ranking_counts_zero() -> None:
    evaluator = Evaluator({"q": {"a": 1}, "r": {"b": 1}, "s": {"c": 1}})
    rankings = {"q": ["a"], "s": list[str]()}
    for metric, values in evaluator.per_query(rankings).items():
        assert values == {"q": 1.0, "r": 0.0, "s": 0.0}, metric


def test_a_ranking_of_an_unjudged_query_is_ignored() -> None:
    values = Evaluator({"q": {"a": 1}}).per_query({"q": ["x"], "unknown": ["a"]})
    assert list(values.values()) == [{"q": 0.0}] * len(METRICS)


def test_only_the_requested_metrics_are_computed() -> None:
    assert set(Evaluator(QRELS, (NDCG,)).per_query({"q": ["a"]})) == {NDCG}
    assert set(Evaluator(QRELS).per_query({"q": ["a"]})) == set(METRICS)


def test_one_evaluator_measures_many_rankings() -> None:
    evaluator = Evaluator(QRELS)
    first = evaluator.per_query({"q": ["b", "a"]})
    evaluator.per_query({"q": ["x"]})
    assert evaluator.per_query({"q": ["b", "a"]}) == first
