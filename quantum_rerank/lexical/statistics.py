"""Frequencies of terms in a corpus, and the BM25 score that follows from them.

Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, in Lucene's variant: the sum
over a query's terms of idf tf / (tf + k1 (1 - b + b length / mean length)), where a term that n of
N documents contain has idf = log(1 + (N - n + 0.5) / (n + 0.5)), k1 = 1.2, b = 0.75. It is
divided by the sum of the query's idf, so that it is between 0 and 1 whatever the query, and does
not depend on the other documents that are scored.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.lexical.terms import TermExtractor

K1, B = 1.2, 0.75

FloatArray = NDArray[np.float64]
Terms = NDArray[np.int64]
"""Numbers of terms, see `term_number`."""


class WeightedTerms(NamedTuple):
    """Terms of a query.

    Attributes:
        terms: (t,), ascending.
        weights: (t,), shares of the terms in the query's idf. Their sum is 1, or 0 for a query
            without terms.
    """

    terms: Terms
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class TermStatistics:
    """Frequencies of the terms of a corpus.

    Attributes:
        terms: (t,), ascending.
        frequencies: (t,) int64, the number of documents that contain each term.
        n_documents: Number of documents.
        mean_length: Mean number of terms of a document, repeated ones counted.
    """

    terms: Terms
    frequencies: NDArray[np.int64]
    n_documents: int
    mean_length: float

    def weighted(self, query: str, extractor: TermExtractor) -> WeightedTerms:
        """Weight the terms of a query by their idf; a term of no document has the highest."""
        counts = extractor.counts(query)
        terms = np.array(sorted(counts), np.int64)
        repeated = np.array([counts[term] for term in terms.tolist()], np.float64)
        n, n_with = self.n_documents, self._frequencies_of(terms)
        weights = repeated * np.log1p((n - n_with + 0.5) / (n_with + 0.5))
        return WeightedTerms(terms, weights / max(float(weights.sum()), sys.float_info.min))

    def scores(self, query: str, documents: Sequence[str], extractor: TermExtractor) -> FloatArray:
        """Score documents that may be of another corpus, for one query.

        Args:
            query: Text of the query.
            documents: Texts of n documents.
            extractor: Extractor of the statistics.

        Returns:
            (n,), from 0 to 1.
        """
        terms, weights = self.weighted(query, extractor)
        weight_of = dict(zip(terms.tolist(), weights.tolist(), strict=True))
        scores = np.zeros(len(documents))
        for row, document in enumerate(documents):
            counts = extractor.counts(document)
            shared = weight_of.keys() & counts.keys()
            if shared:
                shares = self.shares(
                    np.array([counts[term] for term in sorted(shared)]), sum(counts.values())
                )
                scores[row] = shares @ np.array([weight_of[term] for term in sorted(shared)])
        return scores

    def shares(self, counts: NDArray[np.integer], length: NDArray[np.integer] | int) -> FloatArray:
        """Return tf / (tf + K) of terms: how much of its idf a term contributes, from 0 to 1.

        Args:
            counts: (t,) occurrences of terms in their documents.
            length: Number of terms of the documents.
        """
        scale = K1 * (1.0 - B + B * np.asarray(length) / max(self.mean_length, 1.0))
        result: FloatArray = counts / (counts + scale)
        return result

    def _frequencies_of(self, terms: Terms) -> NDArray[np.int64]:
        if not len(self.terms):
            return np.zeros(len(terms), np.int64)
        place = np.minimum(np.searchsorted(self.terms, terms), len(self.terms) - 1)
        return np.where(self.terms[place] == terms, self.frequencies[place], 0)


def summed(terms: Terms, frequencies: NDArray[np.int64]) -> tuple[Terms, NDArray[np.int64]]:
    """Return distinct terms, ascending, and the sum of each one's frequencies."""
    distinct, place = np.unique(terms, return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, place, frequencies)
    return distinct, total


def merged(statistics: Iterable[TermStatistics]) -> TermStatistics:
    """Return the statistics of several corpora as if they were one."""
    parts = list(statistics)
    terms, frequencies = summed(
        np.concatenate([part.terms for part in parts]),
        np.concatenate([part.frequencies for part in parts]),
    )
    n_documents = sum(part.n_documents for part in parts)
    n_terms = sum(part.mean_length * part.n_documents for part in parts)
    return TermStatistics(terms, frequencies, n_documents, n_terms / max(n_documents, 1))
