"""How much a head counts for a query, by how far the query lies from what was trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FALLS: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Tried on validation. 0, which leaves the weight the same for all queries, is among them."""


class DistanceGate(nn.Module):
    """The share of the fusion weight that a query keeps: w(q) = w / (1 + (fall * z)**2).

    z is how far the query lies beyond the usual training query: one minus its cosine to the
    nearest centroid, less the median of the training queries' own, in their standard
    deviations; 0 for a query that lies nearer. At z = 1 / fall half of the weight is left.

    All of it are buffers: they belong to the model, and are saved and exported with its weights.
    """

    centroids: Tensor
    usual: Tensor
    spread: Tensor
    fall: Tensor

    def __init__(self, n_centroids: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(n_centroids, embedding_dim))
        self.register_buffer("usual", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("fall", torch.zeros(()))

    def distances(self, queries: Tensor) -> Tensor:
        """(n, dim) L2-normalised -> (n,) float64, from 0 to 2, to the nearest centroid."""
        return 1.0 - (queries.double() @ self.centroids.double().T).amax(dim=1)

    def forward(self, queries: Tensor) -> Tensor:
        """(n, dim) L2-normalised -> (n,) float64, above 0 and at most 1."""
        beyond = (self.distances(queries) - self.usual.double()) / self.spread.double()
        return 1.0 / (1.0 + (self.fall.double() * beyond.clamp(min=0.0)) ** 2)
