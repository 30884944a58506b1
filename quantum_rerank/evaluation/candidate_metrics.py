"""The same metrics over arrays, for the many rankings of the same candidates within a training.

Fitting the fusion weight ranks every candidate list twenty-one times an epoch. What counts
is only at which rank the relevant candidates stand, so no list is sorted. The values are those of
`metrics.Evaluator`, to which a test holds them; figures that are published come from there.
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

    grades: (q, k) judged relevance of each candidate, 0 where it has none.
    judged: per query, the relevance of all its judged documents, candidates or not.
    """

    def __init__(self, grades: NDArray[np.integer], judged: Sequence[Sequence[int]]) -> None:
        self._shape = grades.shape
        self._query, self._place = np.nonzero(grades > 0)
        self._gain = grades[self._query, self._place].astype(np.float64)
        self._before = np.arange(grades.shape[1]) < self._place[:, None]
        self._n_relevant = np.array([sum(grade > 0 for grade in one) for one in judged], float)
        self._ideal = np.array([_ideal_dcg(one) for one in judged])

    def ranks(self, scores: FloatArray) -> NDArray[np.int64]:
        """The rank of each relevant candidate, from 1; of equal scores the first stands first.

        scores: (q, k).  Returns: (p,), one per relevant candidate, query by query.
        """
        theirs = scores[self._query]
        own = theirs[np.arange(len(theirs)), self._place][:, None]
        ahead = (theirs > own) | ((theirs == own) & self._before)
        ranks: NDArray[np.int64] = 1 + np.count_nonzero(ahead, axis=1)
        return ranks

    def values(self, metric: str, ranks: NDArray[np.int64]) -> FloatArray:
        """A metric per query, (q,), from the ranks of the relevant candidates.

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
            found = np.arange(len(order)) - first + 1
            return _ratio(self._sums(found / ranks[order]), self._n_relevant)
        raise ValueError(f"`{metric}` is no metric. Known: {NDCG}, {MRR}, {RECALL}, {MAP}.")

    def _sums(self, values: FloatArray) -> FloatArray:
        return np.bincount(self._query, values, minlength=self._shape[0]).astype(np.float64)


def _ideal_dcg(judged: Sequence[int]) -> float:
    best = sorted((grade for grade in judged if grade > 0), reverse=True)[:_CUT]
    return float(sum(grade / np.log2(rank + 1) for rank, grade in enumerate(best, start=1)))


def _ratio(values: FloatArray, most: FloatArray) -> FloatArray:
    """values / most, 0 for a query without any relevant document."""
    return np.divide(values, most, out=np.zeros_like(values), where=most > 0)
