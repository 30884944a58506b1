"""The relevance score: the embeddings' cosine and a head's affinity, weighed."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quantum_rerank.similarity.heads import Head

FloatArray = NDArray[np.float64]
Scores = TypeVar("Scores", Tensor, FloatArray)

FUSION_GRID: tuple[float, ...] = tuple(step / 20 for step in range(21))
"""Weights tried on validation. 0, plain cosine, is always among them."""


def fuse(cosine: Scores, affinity: Scores, weight: Scores | float) -> Scores:
    """(1 - weight) cosine + weight affinity, for scores of any one shape.

    >>> fuse(np.array([0.8]), np.array([0.4]), 0.25).item()
    0.7000000000000001
    """
    return (1.0 - weight) * cosine + weight * affinity


def gated(
    head: Head, queries: NDArray[np.float32], cosine: FloatArray, affinity: FloatArray
) -> FloatArray:
    """Affinities moved towards the cosine where a query lies far from what was trained on.

    queries: (q, dim), L2-normalised float32.  cosine, affinity: (q, k) float64.
    Fused by w, they are what the bare ones are by w(q), as of `DistanceGate`.
    """
    if head.gate is None:
        return affinity
    with torch.inference_mode():
        # Copied, because torch warns of arrays that it may not write to.
        share: FloatArray = head.gate(torch.from_numpy(np.array(queries))).numpy()
    return fuse(cosine, affinity, share[:, None])


class Compared(NamedTuple):
    """Queries against documents.

    affinity: (q, d) float32.  documents: (d, size), the representations compared.
    """

    affinity: Tensor
    documents: Tensor


class FusedSimilarity(nn.Module):
    """A head and the weight that its affinity has beside the cosine, trained together."""

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
        """The circuit's weights and the fusion weight: few, and each far-reaching."""
        return [*self.head.circuit_parameters(), self.fusion_logit]

    def forward(self, queries: Tensor, documents: Tensor) -> Compared:
        """Compare every query with every document.

        queries: (q, dim), documents: (d, dim), both L2-normalised float32.
        Each text is represented once.
        """
        both = self.head.represent(torch.cat([queries, documents]))
        asked, found = torch.split(both, [len(queries), len(documents)])
        return Compared(self.head.compare(asked, found).float(), found)

    def fused(self, affinity: Tensor, queries: Tensor, documents: Tensor) -> Tensor:
        """Affinities weighed with the cosine by the trained weight, (q, d).

        Ungated: the queries are those that a gate measures its distances by.
        """
        return fuse(queries @ documents.T, affinity, self.weight)


def represent(head: Head, embeddings: NDArray[np.float32]) -> Tensor:
    """What a trained head makes of texts, without a gradient: (n, dim) -> (n, size)."""
    with torch.inference_mode():
        # Copied, because torch warns of arrays that it may not write to.
        return head.represent(torch.from_numpy(np.array(embeddings, dtype=np.float32)))


def score(
    head: Head,
    weight: float,
    query: NDArray[np.float32],
    documents: NDArray[np.float32],
) -> FloatArray:
    """Relevance of documents to one query by a trained head, without a gradient.

    query: (dim,), documents: (n, dim), L2-normalised.  Returns: (n,), at most 1.
    """
    if not len(documents):
        return np.empty(0)
    asked, found = represent(head, query[None, :]), represent(head, documents)
    return score_represented(head, weight, query, asked, documents, found)


def score_represented(
    head: Head,
    weight: float,
    query: NDArray[np.float32],
    asked: Tensor,
    documents: NDArray[np.float32],
    found: Tensor,
) -> FloatArray:
    """`score` for texts that are represented already.

    asked: (1, size), of the query.  found: (n, size), of the documents.

    In double precision, and the cosine row by row: what a document's score
    owes to the others that are scored with it is below what a float32 can show.
    """
    with torch.inference_mode():
        affinity = head.compare(_double(asked), _double(found)).numpy()
    cosine = np.vecdot(documents, query).astype(np.float64)[None]
    scores: FloatArray = fuse(cosine, gated(head, query[None], cosine, affinity), weight)[0]
    return scores


def _double(values: Tensor) -> Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
