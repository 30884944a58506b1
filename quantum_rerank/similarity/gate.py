"""The share of the fusion weight per query, by its nearness to the training queries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

N_NEAREST = 3


class NearestGate(nn.Module):
    """The share of the fusion weight that a query keeps, between 0 and 1.

    The share is (t - low) / (high - low), where t is the mean cosine of a query to the three
    nearest training queries. A query as near as `high` keeps the whole weight; one as far as
    `low` is left to the first stage. Without a `high` above `low`, all queries keep it.

    All values are buffers, so that they are saved and exported with the model's weights.

    Attributes:
        queries: (n, dim), training queries of length 1. Their number is that of the weights that
            are loaded.
        low: Mean cosine of two training queries.
        high: Nearness from which on a query keeps the whole weight; fitted on validation.
        levels: Values of `high` to choose from, see `place_gate`; empty in a loaded model.
    """

    queries: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("queries", torch.zeros(0, embedding_dim))
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.levels: tuple[float, ...] = ()

    def nearness(self, queries: Tensor) -> Tensor:
        """Return mean cosines to the nearest training queries, (n, dim) -> (n,) float32."""
        cosines = queries @ self.queries.T
        return cosines.topk(min(N_NEAREST, len(self.queries)), dim=1).values.mean(dim=1)

    def forward(self, queries: Tensor) -> Tensor:
        """Return the shares of queries, (n, dim) -> (n,) float64, from 0 to 1."""
        low, high = float(self.low), float(self.high)  # numbers cost less than tensors
        if not high > low:
            return torch.ones(len(queries), dtype=torch.float64)
        return _clipped(self.nearness(queries), low, high)

    def shares(self, nearness: Tensor) -> Tensor:
        """Return the shares of queries by their nearness, (n,) float32 -> (n,) float64."""
        if not self.is_chosen:
            return torch.ones(len(nearness), dtype=torch.float64)
        return _clipped(nearness, float(self.low), float(self.high))

    @property
    def is_chosen(self) -> bool:
        """True if some queries are far enough to lose weight: `high` is above `low`."""
        return float(self.high) > float(self.low)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = state_dict.get(f"{prefix}queries")
        if stored is not None and stored.shape[1:] == self.queries.shape[1:]:
            self.queries = self.queries.new_zeros(stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _clipped(nearness: Tensor, low: float, high: float) -> Tensor:
    return ((nearness.double() - low) / (high - low)).clamp(0.0, 1.0)
