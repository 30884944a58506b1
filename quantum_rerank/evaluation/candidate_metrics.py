"""Ranking metrics over arrays, for the many rankings of the same candidates within a training.

Fitting the fusion weight ranks every candidate list twenty-one times an epoch. The metrics depend
only on the ranks of the relevant candidates, so no list is sorted. A test holds the values equal
to those of `metrics.Evaluator`, which computes all published figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.evaluation.metrics import MAP, MRR, NDCG, RECALL

FloatArray = NDArray[np.float64]
_CUT = 10  # of NDCG and MRR
_RECALL_CUT = 100


class CandidateMetrics:
    """Metrics of rankings of fixed candidates.

    Args:
        grades: (q, k) judged relevance of each candidate, 0 for an unjudged one.
        judged: Per query, the relevance of all its judged documents, candidates or not.
    """

    def __init__(self, grades: NDArray[np.integer], judged: Sequence[Sequence[int]]) -> None:
        self._shape = grades.shape
        self._query, self._position = np.nonzero(grades > 0)
        self._gain = grades[self._query, self._position].astype(np.float64)
        self._is_earlier = np.arange(grades.shape[1]) < self._position[:, None]
        self._n_relevant = np.array(
            [sum(grade > 0 for grade in grades_of_query) for grades_of_query in judged], float
        )
        self._ideal = np.array([_ideal_dcg(grades_of_query) for grades_of_query in judged])

    def ranks(self, scores: FloatArray) -> NDArray[np.int64]:
        """Return the rank of each relevant candidate, from 1, ties by position.

        Args:
            scores: (q, k).

        Returns:
            (p,), one for each relevant candidate, query by query.
        """
        scores_of_query = scores[self._query]
        score = scores_of_query[np.arange(len(scores_of_query)), self._position][:, None]
        ahead = (scores_of_query > score) | ((scores_of_query == score) & self._is_earlier)
        ranks: NDArray[np.int64] = 1 + np.count_nonzero(ahead, axis=1)
        return ranks

    def values(self, metric: str, ranks: NDArray[np.int64]) -> FloatArray:
        """Compute a metric per query from the ranks of the relevant candidates.

        Args:
            metric: Name of the metric, one of `METRICS`.
            ranks: (p,), see `ranks`.

        Returns:
            (q,).

        Raises:
            ValueError: The metric is not supported.

        >>> one_of_two_found = CandidateMetrics(np.array([[0, 1, 0]]), [[1, 1]])
        >>> ranks = one_of_two_found.ranks(np.array([[0.9, 0.8, 0.1]]))
        >>> one_of_two_found.values(MRR, ranks), one_of_two_found.values(MAP, ranks)
        (array([0.5]), array([0.25]))
        """
        if metric == NDCG:
            gains = np.where(ranks <= _CUT, self._gain / np.log2(ranks + 1), 0.0)
            return _ratio(self._sums(gains), self._ideal)
        if metric == MRR:
            best = np.full(self._shape[0], np.inf)
            np.minimum.at(best, self._query, ranks)
            return np.where(best <= _CUT, 1.0 / best, 0.0)
        if metric == RECALL:
            return _ratio(self._sums((ranks <= _RECALL_CUT).astype(float)), self._n_relevant)
        if metric == MAP:
            order = np.lexsort((ranks, self._query))  # query by query, so queries stay in place
            first = np.searchsorted(self._query, self._query)
            n_relevant_so_far = np.arange(len(order)) - first + 1
            return _ratio(self._sums(n_relevant_so_far / ranks[order]), self._n_relevant)
        raise ValueError(
            f"`{metric}` is not a metric. Choose one of: {NDCG}, {MRR}, {RECALL}, {MAP}."
        )

    def _sums(self, values: FloatArray) -> FloatArray:
        return np.bincount(self._query, values, minlength=self._shape[0]).astype(np.float64)


def _ideal_dcg(judged: Sequence[int]) -> float:
    best = sorted((grade for grade in judged if grade > 0), reverse=True)[:_CUT]
    return float(sum(grade / np.log2(rank + 1) for rank, grade in enumerate(best, start=1)))


def _ratio(values: FloatArray, most: FloatArray) -> FloatArray:
    """Return values / most, or 0 for a query without a relevant document."""
    return np.divide(values, most, out=np.zeros_like(values), where=most > 0)
