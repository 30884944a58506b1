"""Early stopping of a training whose validation objective no longer improves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quantum_rerank.training.checked import checked_count, checked_number
from quantum_rerank.training.config import TrainingConfig


class EarlyStopping:
    """Stops after `early_stopping_patience` epochs without an improvement.

    Only a gain of at least `min_improvement` over the best value so far is an improvement.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self._patience = config.early_stopping_patience
        self._min_improvement = config.min_improvement
        self._best = -math.inf
        self._waited = 0

    def should_stop(self, value: float) -> bool:
        """Take the next value, the higher the better; return whether to stop.

        >>> config = TrainingConfig(early_stopping_patience=2, min_improvement=0.01)
        >>> stopping = EarlyStopping(config)
        >>> [stopping.should_stop(value) for value in (0.5, 0.505, 0.52, 0.52, 0.52)]
        [False, False, False, False, True]
        """
        if value > self._best and value >= self._best + self._min_improvement:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        return self._waited >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, and the number of epochs since then."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self._best = checked_number(state["best"], "best")
        self._waited = checked_count(state["waited"], "waited")
