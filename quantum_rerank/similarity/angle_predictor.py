"""The classical half: an MLP from a text embedding to a fixed number of outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AnglePredictor(nn.Module):
    """MLP whose outputs are angles.

    kind: `bounded` within (-pi, pi) by a scaled tanh, because a sigmoid saturates: every angle
        ends at one end of its range and every fidelity at 1. `wrapped`: unbounded; nothing here
        wraps them. The circuit's rotations do so by themselves: up to a global phase they have
        the period 2 pi, which in a predicted angle is 2 pi over the scale that the circuit has
        trained for it. A modulo of ours, before that scale, would jump where it wraps.
    """

    def __init__(
        self,
        embedding_dim: int,
        hidden_layers: Sequence[int],
        n_angles: int,
        dropout: float,
        kind: str = "bounded",
    ) -> None:
        super().__init__()
        self.layers = mlp(embedding_dim, hidden_layers, n_angles, dropout)
        self._bounded = kind == "bounded"

    def forward(self, embeddings: Tensor) -> Tensor:
        """(batch, embedding_dim) -> (batch, n_angles), radians."""
        outputs = self.layers(embeddings)
        return math.pi * (torch.tanh(outputs) if self._bounded else outputs)


def mlp(n_inputs: int, hidden_layers: Sequence[int], n_outputs: int, dropout: float) -> nn.Module:
    """Linear, ReLU and dropout per hidden layer, then a linear output."""
    layers: list[nn.Module] = []
    width = n_inputs
    for hidden in hidden_layers:
        layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, n_outputs))
