"""The difficulty of each training query, by which hard queries are drawn more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantum_rerank.training.checked import checked_tensor

FloatArray = NDArray[np.float64]
_NEWEST = 0.5  # share of a query's newest loss in the smoothed loss; dropout makes losses noisy


class Difficulty:
    """The smoothed past loss of every query.

    Args:
        sizes: Number of queries of each domain.
        weight: 0: queries are drawn equally often; 1: in proportion to their losses; a value
            between mixes both.
    """

    def __init__(self, sizes: Sequence[int], weight: float) -> None:
        self.weight = weight
        self._losses = [np.full(n, np.nan) for n in sizes]

    def remember(self, domain: int, rows: NDArray[np.int64], losses: FloatArray) -> None:
        """Take the losses of queries of a domain, (len(rows),)."""
        losses = np.maximum(losses, 0.0)  # rounding may give less, and a negative share
        past = self._losses[domain][rows]
        smoothed = (1.0 - _NEWEST) * past + _NEWEST * losses
        self._losses[domain][rows] = np.where(np.isnan(past), losses, smoothed)

    def shares(self, domain: int) -> FloatArray | None:
        """Return the probability of each query of a domain, (n,); None for equal ones.

        A query without a loss counts as the mean of the rest.

        >>> difficulty = Difficulty([3], weight=0.5)
        >>> difficulty.remember(0, np.array([0, 1]), np.array([3.0, 1.0]))
        >>> difficulty.shares(0).round(4)
        array([0.4167, 0.25  , 0.3333])
        """
        losses = self._losses[domain]
        past = losses[~np.isnan(losses)]
        if not self.weight or not past.sum():
            return None
        losses = np.where(np.isnan(losses), past.mean(), losses)
        in_proportion: FloatArray = losses / losses.sum()
        return (1.0 - self.weight) / len(losses) + self.weight * in_proportion

    def state_dict(self) -> dict[str, Any]:
        """Return the smoothed losses of each domain; empty if the weight is 0."""
        losses = [torch.from_numpy(values) for values in self._losses]
        return {"losses": losses if self.weight else []}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        if not self.weight:
            return
        pairs = zip(state["losses"], self._losses, strict=True)
        self._losses = [
            checked_tensor(values, torch.from_numpy(own), "losses", allow_nan=True).numpy()
            for values, own in pairs
        ]
