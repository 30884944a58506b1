"""A moving average of a head's weights over its epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from quantum_rerank.similarity import Head
from quantum_rerank.training.checked import checked_count, checked_tensors


class WeightAverage:
    """An exponential moving average of weights, with one value per epoch.

    After Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    UAI 2018, with weights that fall by `decay` from epoch to epoch and sum to 1 from the first
    epoch on: the random start has no share in them, and a decay of 0 keeps the last epoch alone.

    torch's AveragedModel copies the module, but engines hold objects that cannot be copied.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._epochs = 0
        self._weights: dict[str, Tensor] = {}

    def include(self, head: Head) -> None:
        """Include the weights of the next epoch."""
        if not self._decay:
            return
        self._epochs += 1
        share = (1.0 - self._decay) / (1.0 - self._decay**self._epochs)
        for name, weight in head.state_dict().items():
            if self._epochs == 1:
                self._weights[name] = weight.clone()
            else:
                self._weights[name].lerp_(weight, share)

    @contextmanager
    def in_place(self, head: Head) -> Iterator[None]:
        """Give the head the averaged weights within the context; restore its weights after it."""
        if not self._epochs:
            yield
            return
        trained = {name: weight.clone() for name, weight in head.state_dict().items()}
        head.load_state_dict(self._weights)
        try:
            yield
        finally:
            head.load_state_dict(trained)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of its epochs."""
        return {"epochs": self._epochs, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any], head: Head) -> None:
        """Continue from a `state_dict`.

        Args:
            state: Average of weights.
            head: Head with weights of the same shapes.
        """
        if not self._decay:
            return
        self._epochs = checked_count(state["epochs"], "epochs")
        expected = head.state_dict() if self._epochs else {}
        self._weights = checked_tensors(state["weights"], expected)
