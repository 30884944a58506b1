"""The mean of a head's weights over its last epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from quantum_rerank.similarity import Head


class WeightAverage:
    """An exponential moving average, one value an epoch: a flatter place than the last step's.

    After Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    UAI 2018, with weights that fall by `decay` from epoch to epoch and sum to 1 from the first
    epoch on: nothing of the random start stays, and a decay of 0 is the last epoch alone.

    Not torch's AveragedModel, which copies the module: an engine has what cannot be copied.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._epochs = 0
        self._weights: dict[str, Tensor] = {}

    def include(self, head: Head) -> None:
        """Take the weights of the next epoch."""
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
        """The head has the averaged weights within; its own come back afterwards."""
        if not self._epochs:
            yield
            return
        own = {name: weight.clone() for name, weight in head.state_dict().items()}
        head.load_state_dict(self._weights)
        try:
            yield
        finally:
            head.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """The average so far, and over how many epochs."""
        return {"epochs": self._epochs, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        if not self._decay:
            return
        self._epochs = state["epochs"]
        self._weights = {name: weight.clone() for name, weight in state["weights"].items()}
