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
    """Stack linear, ReLU and dropout per hidden layer, then a linear output.

    With a linear path, the sum of both, see `LinearPath`.
    """
    layers: list[nn.Module] = []
    width = n_inputs
    for hidden in config.hidden_layers:
        layers += [nn.Linear(width, hidden), nn.ReLU(), Dropout(config.dropout)]
        width = hidden
    stacked = nn.Sequential(*layers, nn.Linear(width, n_outputs))
    if config.linear_path == "none":
        return stacked
    return LinearPath(stacked, nn.Linear(n_inputs, n_outputs, bias=False))


class LinearPath(nn.Module):
    """MLP with a linear map beside it, of which it learns the rest: L x + MLP(x).

    The MLP's last layer starts at 0, so that the model starts as the map. The map is set from
    the training queries, see `training.discriminant`.

    Args:
        hidden: The MLP, which ends with a linear layer.
        linear: The map, with the same inputs and outputs.
    """

    def __init__(self, hidden: nn.Sequential, linear: nn.Linear) -> None:
        super().__init__()
        self.hidden, self.linear = hidden, linear
        for weights in hidden[-1].parameters():
            nn.init.zeros_(weights)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the outputs, (n, n_outputs), of embeddings, (n, embedding_dim)."""
        return self.linear(embeddings) + self.hidden(embeddings)  # type: ignore[no-any-return]
