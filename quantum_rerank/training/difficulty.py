"""How hard each query was when it was trained on: which come more often than others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_NEWEST = 0.5  # share of a query's newest loss in what is remembered; dropout makes it noisy


class Difficulty:
    """The smoothed past loss of every query of some domains.

    weight: 0, queries come alike; 1, in proportion to their losses; between, in part.
    """

    def __init__(self, sizes: Sequence[int], weight: float) -> None:
        self.weight = weight
        self._losses = [np.full(n, np.nan) for n in sizes]

    def remember(self, domain: int, rows: NDArray[np.int64], losses: FloatArray) -> None:
        """Take in what queries of a domain have cost, (len(rows),)."""
        losses = np.maximum(losses, 0.0)  # rounding may leave less, and a share would be negative
        past = self._losses[domain][rows]
        smoothed = (1.0 - _NEWEST) * past + _NEWEST * losses
        self._losses[domain][rows] = np.where(np.isnan(past), losses, smoothed)

    def shares(self, domain: int) -> FloatArray | None:
        """How often each query of a domain is to be drawn, (n,); None for all alike.

        One that was never trained on counts as the mean of the others.

        >>> difficulty = Difficulty([3], weight=0.5)
        >>> difficulty.remember(0, np.array([0, 1]), np.array([3.0, 1.0]))
        >>> difficulty.shares(0).round(4)
        array([0.4167, 0.25  , 0.3333])
        """
        losses = self._losses[domain]
        known = losses[~np.isnan(losses)]
        if not self.weight or not known.sum():
            return None
        losses = np.where(np.isnan(losses), known.mean(), losses)
        in_proportion: FloatArray = losses / losses.sum()
        return (1.0 - self.weight) / len(losses) + self.weight * in_proportion

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, domain by domain; nothing where it counts for nothing."""
        losses = [torch.from_numpy(values) for values in self._losses]
        return {"losses": losses if self.weight else []}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        # Copied, so that the state may be loaded twice.
        self._losses = [values.numpy().copy() for values in state["losses"]] or self._losses
