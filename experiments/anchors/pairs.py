"""Pairs of training queries with relevant documents, a hard negative each, and their loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.evaluation.query_set import QuerySet

_SCALE = 20.0  # of sentence-transformers' MultipleNegativesRankingLoss


@dataclass(frozen=True)
class Judged:
    """Training queries of all domains, numbered together, as are their documents.

    Attributes:
        positives: Per query, the numbers of its relevant documents.
        negatives: Per query, the numbers of the candidates that hard negatives are drawn from.
    """

    positives: tuple[NDArray[np.int64], ...]
    negatives: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, query_sets: Sequence[QuerySet], pool: int) -> Judged:
        """Number the queries and documents of query sets.

        Args:
            query_sets: The training queries of each domain.
            pool: The number of nearest candidates that are not relevant to draw negatives from.
        """
        positives, negatives, first = [], [], 0
        for queries in query_sets:
            for rows, candidates in zip(queries.positives, queries.candidates, strict=True):
                positives.append(first + rows)
                negatives.append(first + candidates[~np.isin(candidates, rows)][:pool])
            first += len(queries.document_ids)
        return cls(tuple(positives), tuple(negatives))


@dataclass(frozen=True)
class PairBatch:
    """A batch of b pairs.

    Attributes:
        queries: (b,) numbers of queries.
        documents: (2 b,) numbers of documents: the positives, then the hard negatives.
        is_relevant: (b, 2 b), whether a document is known to be relevant to a query.
    """

    queries: Tensor
    documents: Tensor
    is_relevant: Tensor


def epoch_batches(
    judged: Judged, size: int, pairs_per_query: int, rng: np.random.Generator
) -> Iterator[PairBatch]:
    """Yield the batches of one epoch. A last batch of a single pair is left out.

    Args:
        judged: The training queries.
        size: The number of pairs of a batch.
        pairs_per_query: The largest number of relevant documents drawn for a query.
        rng: The generator of pairs, negatives and their order.
    """
    pairs = np.array(
        [
            (query, document, rng.choice(judged.negatives[query]))
            for query, positives in enumerate(judged.positives)
            if len(judged.negatives[query])
            for document in rng.permutation(positives)[:pairs_per_query]
        ]
    ).reshape(-1, 3)
    shuffled = pairs[rng.permutation(len(pairs))]
    for start in range(0, len(pairs), size):
        queries, positives, negatives = shuffled[start : start + size].T
        if len(queries) > 1:
            documents = np.concatenate([positives, negatives])
            relevant = np.stack([np.isin(documents, judged.positives[q]) for q in queries])
            yield PairBatch(*map(torch.from_numpy, (queries, documents, relevant)))


def ranking_loss(cosine: Tensor, is_relevant: Tensor) -> Tensor:
    """Return the mean cross-entropy of each query's own document among those of the batch.

    Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply", 2017, with
    cosines scaled by 20. Unlike in MultipleNegativesRankingLoss of sentence-transformers, other
    documents that are known to be relevant to a query are no negatives of it.

    Args:
        cosine: (b, n) cosines of queries with documents; the first b documents are their own.
        is_relevant: (b, n), whether a document is known to be relevant to a query.

    >>> cosine = torch.tensor([[0.5, 0.5], [0.1, 0.5]])
    >>> relevant = torch.tensor([[True, True], [False, True]])
    >>> round(ranking_loss(cosine, relevant).item(), 6)  # log(1 + exp(-8)) / 2
    0.000168
    """
    own = torch.arange(len(cosine))
    excluded = is_relevant.clone()
    excluded[own, own] = False
    logits = (_SCALE * cosine).masked_fill(excluded, -torch.inf)
    return torch.nn.functional.cross_entropy(logits, own)
