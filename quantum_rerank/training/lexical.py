"""BM25 over the candidates of a query set: baselines that read texts instead of vectors.

They have no head and no training. They share the candidates, the fusion with the cosine and the
metrics with the models.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection, load_collection
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import FloatArray

_K1, _B = 1.2, 0.75
_WORDS = r"(?u)\b\w+\b"  # lower-cased, without stemming or stop words


class Bm25:
    """BM25 of a run's collections, each indexed at its first use.

    Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, in Lucene's
    variant: sum over a query's words of log(1 + (N - n + 0.5) / (n + 0.5)) tf / (tf + K),
    K = k1 (1 - b + b length / mean length), k1 = 1.2, b = 0.75.

    Args:
        data: The collections of the run.
    """

    def __init__(self, data: DataConfig) -> None:
        self._data = data
        self._indices: dict[str, _Index] = {}

    def affinities(self, queries: QuerySet) -> FloatArray:
        """Score each query with each of its candidates, relative to its best candidate.

        The values are from 0 to 1, as the fusion with the cosine requires.

        Args:
            queries: A query set of one of the collections.

        Returns:
            (q, k). A query that shares no word with any candidate has 0 for all of them.
        """
        index = self._index(queries.domain)
        scores = np.stack(
            [
                index.scores(query)[candidates]
                for query, candidates in zip(queries.query_ids, queries.candidates, strict=True)
            ]
        )
        best = scores.max(axis=1, keepdims=True)
        return scores / np.where(best > 0.0, best, 1.0)

    def _index(self, domain: str) -> _Index:
        if domain not in self._indices:
            self._indices[domain] = _Index(self._collections[domain])
        return self._indices[domain]

    @cached_property
    def _collections(self) -> dict[str, Collection]:
        specs = (*self._data.seen, *self._data.unseen_validation, *self._data.unseen_test)
        collections = [load_collection(spec, self._data) for spec in specs]
        return {collection.domain: collection for collection in collections}


class _Index:
    """The index of one collection: the score of every word in every document."""

    def __init__(self, collection: Collection) -> None:
        import bm25s

        self._queries, self._n_documents = collection.queries, len(collection.corpus)
        documents = _words(list(collection.corpus.values()))
        self._has_words = any(documents)
        self._bm25 = bm25s.BM25(k1=_K1, b=_B, method="lucene")
        if self._has_words:
            self._bm25.index(documents, show_progress=False)

    def scores(self, query_id: str) -> FloatArray:
        """Return the scores of all documents, (n,), in the order of the corpus."""
        (words,) = _words([self._queries[query_id]])
        if not (words and self._has_words):  # punctuation alone
            return np.zeros(self._n_documents)
        scores: FloatArray = self._bm25.get_scores(words).astype(np.float64)
        return scores


def _words(texts: list[str]) -> Any:
    import bm25s

    return bm25s.tokenize(
        texts, token_pattern=_WORDS, stopwords=None, return_ids=False, show_progress=False
    )
