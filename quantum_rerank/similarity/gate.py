"""The share of the fusion weight per query, by its distance from the training queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FALLS: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Values tried on validation. 0 leaves the weight the same for all queries."""


class DistanceGate(nn.Module):
    """The share of the fusion weight that a query keeps: w(q) = w / (1 + (fall * z)**2).

    z is the distance of the query beyond the usual training query: one minus its cosine to the
    nearest centroid, less the median of the training queries' distances, in their standard
    deviations; 0 for a query that lies nearer. At z = 1 / fall half of the weight is left.

    All values are buffers, so that they are saved and exported with the model's weights.
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
        """Return distances to the nearest centroid, (n, dim) -> (n,) float64, from 0 to 2."""
        return 1.0 - (queries.double() @ self.centroids.double().T).amax(dim=1)

    def forward(self, queries: Tensor) -> Tensor:
        """Return the shares of queries, (n, dim) -> (n,) float64, above 0 and at most 1."""
        beyond = (self.distances(queries) - self.usual.double()) / self.spread.double()
        return 1.0 / (1.0 + (self.fall.double() * beyond.clamp(min=0.0)) ** 2)
