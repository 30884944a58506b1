"""The classical half: an MLP from a text embedding to a fixed number of outputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quantum_rerank.circuits import CircuitConfig
from quantum_rerank.similarity.config import MlpConfig
from quantum_rerank.similarity.dropout import Dropout


class AnglePredictor(nn.Module):
    """MLP whose outputs are the angles of a circuit.

    Angles that are `bounded` lie within (-pi, pi) by a scaled tanh, because a sigmoid
    saturates: every angle ends at one end of its range and every fidelity at 1.

    Angles that are `wrapped` are unbounded; the circuit's rotations wrap them: up to a global
    phase they have the period 2 pi, which in a predicted angle is 2 pi over the scale that the
    circuit has trained for it. A modulo before that scale would jump where it wraps.

    Args:
        embedding_dim: Width of the text embeddings.
        config: Hidden layers and dropout.
        circuit: The circuit that takes the angles.
    """

    def __init__(self, embedding_dim: int, config: MlpConfig, circuit: CircuitConfig) -> None:
        super().__init__()
        self.layers = mlp(embedding_dim, circuit.ansatz.n_angles, config)
        self._bounded = circuit.angles == "bounded"

    def forward(self, embeddings: Tensor) -> Tensor:
        """Predict angles, (batch, embedding_dim) -> (batch, n_angles), in radians."""
        outputs = self.layers(embeddings)
        return math.pi * (torch.tanh(outputs) if self._bounded else outputs)


def mlp(n_inputs: int, n_outputs: int, config: MlpConfig) -> nn.Module:
    """Stack linear, ReLU and dropout per hidden layer, then a linear output."""
    layers: list[nn.Module] = []
    width = n_inputs
    for hidden in config.hidden_layers:
        layers += [nn.Linear(width, hidden), nn.ReLU(), Dropout(config.dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, n_outputs))
