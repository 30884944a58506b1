"""The relevance score: a weighted mean of a first-stage score and a head's affinity.

The first-stage score is the cosine of the embeddings, or its weighted mean with a lexical score.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quantum_rerank.errors import BundleError
from quantum_rerank.similarity.heads import Head

FloatArray = NDArray[np.float64]
Scores = TypeVar("Scores", Tensor, FloatArray)

FUSION_GRID: tuple[float, ...] = tuple(step / 20 for step in range(21))
"""Weights tried on validation. 0, plain cosine, is always among them."""


def fuse(cosine: Scores, affinity: Scores, weight: Scores | float) -> Scores:
    """Return (1 - weight) cosine + weight affinity, for scores of the same shape.

    >>> fuse(np.array([0.8]), np.array([0.4]), 0.25).item()
    0.7000000000000001
    """
    return (1.0 - weight) * cosine + weight * affinity


class ScoreParts(NamedTuple):
    """Scores of queries' candidates that are fused by one weight.

    Attributes:
        first: (q, k) float64, the first-stage score: the cosine, or its mean with BM25.
        affinity: (q, k) float64, moved towards the first stage where a gate asks for it.
    """

    first: FloatArray
    affinity: FloatArray

    def fused(self, weight: float) -> FloatArray:
        """Return (1 - weight) first + weight affinity, (q, k)."""
        return fuse(self.first, self.affinity, weight)


def score_parts(
    head: Head,
    cosine: FloatArray,
    lexical: FloatArray | None,
    affinity: FloatArray,
    shares: FloatArray | None,
) -> ScoreParts:
    """Apply the lexical part and the gate of a head, where it has them.

    A gate moves affinities towards the first stage: fusing them by w equals fusing the bare
    affinities by w(q), see `NearestGate`.

    Args:
        head: The head.
        cosine: (q, k) float64.
        lexical: (q, k) float64, for a head with a lexical part.
        affinity: (q, k) float64.
        shares: (q,) float64, the shares of the head's gate; None without a gate.
    """
    share = None if shares is None else shares[:, None]
    first = cosine
    if head.lexical is not None and lexical is not None:
        first = fuse(cosine, lexical, head.lexical.weights(share))
    return ScoreParts(first, affinity if share is None else fuse(first, affinity, share))


def gate_shares(head: Head, queries: NDArray[np.float32]) -> FloatArray | None:
    """Return the shares of the weight that a head's gate leaves to queries.

    Args:
        head: The head.
        queries: (q, dim), L2-normalised float32.

    Returns:
        (q,) float64, from 0 to 1; None for a head without a gate.
    """
    if head.gate is None:
        return None
    with torch.inference_mode():
        # Copied, because torch warns of arrays that it may not write to.
        shares: FloatArray = head.gate(torch.from_numpy(np.array(queries))).numpy()
    return shares


class RepresentedQuery(NamedTuple):
    """Represented query: the part of a score that is the same for all documents.

    Attributes:
        vector: (dim,) float32, L2-normalised.
        state: (1, size), the query's representation in double precision.
        shares: (1,) float64, see `gate_shares`.
    """

    vector: NDArray[np.float32]
    state: Tensor
    shares: FloatArray | None


class Compared(NamedTuple):
    """Affinities of queries with documents.

    Attributes:
        affinity: (q, d) float32.
        documents: (d, size), the documents' representations.
    """

    affinity: Tensor
    documents: Tensor


class FusedSimilarity(nn.Module):
    """A head and the fusion weight of its affinity, trained together."""

    def __init__(self, head: Head, initial_weight: float) -> None:
        super().__init__()
        self.head = head
        logit = math.log(initial_weight / (1.0 - initial_weight))
        self.fusion_logit = nn.Parameter(torch.tensor(logit))

    @property
    def weight(self) -> Tensor:
        """The trained fusion weight w, a scalar between 0 and 1."""
        return torch.sigmoid(self.fusion_logit)

    def circuit_parameters(self) -> list[nn.Parameter]:
        """Return the circuit's weights and the fusion weight: few, and each far-reaching."""
        return [*self.head.circuit_parameters(), self.fusion_logit]

    def forward(self, queries: Tensor, documents: Tensor) -> Compared:
        """Compare every query with every document; each text is represented once.

        Args:
            queries: (q, dim), L2-normalised float32.
            documents: (d, dim), L2-normalised float32.
        """
        both = self.head.represent(torch.cat([queries, documents]))
        left, right = torch.split(both, [len(queries), len(documents)])
        return Compared(self.head.compare(left, right).float(), right)

    def fused(self, affinity: Tensor, queries: Tensor, documents: Tensor) -> Tensor:
        """Fuse affinities with the cosine by the trained weight, (q, d).

        Without the gate: the training queries are those that a gate measures distances by.
        """
        return fuse(queries @ documents.T, affinity, self.weight)


def represent(head: Head, embeddings: NDArray[np.float32]) -> Tensor:
    """Represent texts by a trained head, without a gradient: (n, dim) -> (n, size)."""
    with torch.inference_mode():
        # Copied, because torch warns of arrays that it may not write to.
        return head.represent(torch.from_numpy(np.array(embeddings, dtype=np.float32)))


def represent_query(head: Head, vector: NDArray[np.float32]) -> RepresentedQuery:
    """Represent a query by a trained head, without a gradient.

    Args:
        head: The trained head.
        vector: (dim,), L2-normalised.
    """
    row = vector[None]
    return RepresentedQuery(vector, _double(represent(head, row)), gate_shares(head, row))


def score(
    head: Head,
    weight: float,
    query: NDArray[np.float32],
    documents: NDArray[np.float32],
    lexical: FloatArray | None = None,
) -> FloatArray:
    """Score documents for one query by a trained head, without a gradient.

    Args:
        head: The trained head.
        weight: The fusion weight.
        query: (dim,), L2-normalised.
        documents: (n, dim), L2-normalised.
        lexical: (n,), lexical scores, for a head with a lexical part.

    Returns:
        (n,), at most 1.
    """
    if not len(documents):
        return np.empty(0)
    return score_represented(
        head,
        weight,
        query=represent_query(head, query),
        documents=documents,
        document_states=represent(head, documents),
        lexical=lexical,
    )


def score_represented(
    head: Head,
    weight: float,
    query: RepresentedQuery,
    documents: NDArray[np.float32],
    document_states: Tensor,
    lexical: FloatArray | None = None,
) -> FloatArray:
    """Score documents like `score`, for texts that are represented already.

    Computed in double precision, and the cosine row by row: the influence of the other
    documents on a document's score is below the precision of a float32.

    Args:
        head: The trained head.
        weight: The fusion weight.
        query: The query.
        documents: (n, dim), L2-normalised.
        document_states: (n, size), the documents' representations.
        lexical: (n,), lexical scores, for a head with a lexical part.

    Returns:
        (n,), at most 1.

    Raises:
        BundleError: A score is not finite, since weights or states are too large or were altered.
    """
    with torch.inference_mode():
        affinity = head.compare(query.state, _double(document_states)).numpy()
    cosine = np.vecdot(documents, query.vector).astype(np.float64)[None]
    of_query = None if lexical is None else lexical[None]
    parts = score_parts(head, cosine, of_query, affinity, query.shares)
    scores: FloatArray = parts.fused(weight)[0]
    if not np.isfinite(scores).all():
        raise BundleError(
            "The model gives scores that are not finite: its weights, or the states of an index, "
            "are too large or were altered. Export the model again, or index the documents again."
        )
    return scores


def _double(values: Tensor) -> Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
