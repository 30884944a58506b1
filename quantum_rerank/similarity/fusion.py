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


class Scored(NamedTuple):
    """Scores of queries against documents.

    affinity, fused: (q, d) float32.  documents: (d, size), the representations compared.
    """

    affinity: Tensor
    fused: Tensor
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

    def forward(self, queries: Tensor, documents: Tensor) -> Scored:
        """Score every query against every document.

        queries: (q, dim), documents: (d, dim), both L2-normalised float32.
        Each text is represented once.
        """
        both = self.head.represent(torch.cat([queries, documents]))
        asked, found = both[: len(queries)], both[len(queries) :]
        affinity = self.head.compare(asked, found).float()
        return Scored(affinity, fuse(queries @ documents.T, affinity, self.weight), found)


def score(
    head: Head,
    weight: float,
    query: NDArray[np.float32],
    documents: NDArray[np.float32],
) -> FloatArray:
    """Relevance of documents to one query by a trained head, without a gradient.

    query: (dim,), documents: (n, dim), L2-normalised.  Returns: (n,), at most 1.
    """
    with torch.no_grad():
        states = head.represent(torch.from_numpy(np.vstack([query[None, :], documents])))
        affinity = head.compare(states[:1], states[1:])[0].double().numpy()
    return fuse((documents @ query).astype(np.float64), affinity, weight)
