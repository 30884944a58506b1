from __future__ import annotations

import numpy as np
import pytest

from quantum_rerank.evaluation import METRICS, CandidateMetrics, Evaluator

Judgments = dict[str, int]


def both_ways(
    grades: np.ndarray, missed: list[list[int]], scores: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Metric -> (q,) by arrays, and by ir-measures, for candidates d0, d1, ... of each query.

    missed: per query, the grades of judged documents that are no candidates.
    """
    judged: dict[str, Judgments] = {
        f"q{q}": {f"d{k}": int(g) for k, g in enumerate(row) if g}
        | {f"missed{m}": grade for m, grade in enumerate(missed[q])}
        for q, row in enumerate(grades)
    }
    metrics = CandidateMetrics(
        grades, [list(grades_of_query.values()) for grades_of_query in judged.values()]
    )
    ranks = metrics.ranks(scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    rankings = {f"q{q}": [f"d{k}" for k in row] for q, row in enumerate(order)}
    expected = Evaluator(judged).per_query(rankings)
    return (
        {name: metrics.values(name, ranks) for name in METRICS},
        {name: np.array([expected[name][query] for query in judged]) for name in METRICS},
    )


@pytest.mark.parametrize("n_candidates", [3, 12, 150])
@pytest.mark.parametrize("seed", range(5))
def test_every_metric_equals_that_of_trec_eval(seed: int, n_candidates: int) -> None:
    rng = np.random.default_rng(seed)
    grades = rng.choice([0, 0, 0, 0, 1, 2, 3], size=(20, n_candidates))
    grades[0] = 0
    missed = [rng.integers(1, 4, size=rng.integers(1, 15)).tolist() for _ in range(20)]
    scores = rng.normal(size=grades.shape).round(1)  # rounded: many are equal
    found, expected = both_ways(grades, missed, scores)
    for name in METRICS:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12, err_msg=name)


def test_ties_are_broken_by_position() -> None:
    metrics = CandidateMetrics(np.array([[0, 1, 1, 0]]), [[1, 1]])
    assert metrics.ranks(np.zeros((1, 4))).tolist() == [2, 3]


def test_a_query_without_relevant_candidates_scores_zero() -> None:
    metrics = CandidateMetrics(np.zeros((1, 4), dtype=int), [[1]])
    ranks = metrics.ranks(np.zeros((1, 4)))
    assert [metrics.values(name, ranks).tolist() for name in METRICS] == [[0.0]] * 4


def test_an_unknown_metric_is_refused() -> None:
    metrics = CandidateMetrics(np.array([[1]]), [[1]])
    with pytest.raises(ValueError, match="`bleu` is not a metric"):
        metrics.values("bleu", np.array([1]))
