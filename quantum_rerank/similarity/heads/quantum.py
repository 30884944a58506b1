"""Models that compare quantum states: affinity is the fidelity of two texts' states."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from quantum_rerank.similarity.angle_predictor import AnglePredictor, mlp
from quantum_rerank.similarity.fidelity import TrainedCircuit, fidelity
from quantum_rerank.similarity.heads.head import Head

_DTYPES = {"float64": torch.float64, "float32": torch.float32}


class StateHead(Head):
    """A text's representation is the state of some qubits, (n, 2**n_qubits) complex."""

    @abstractmethod
    def represent(self, embeddings: Tensor) -> Tensor: ...

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return fidelity(queries, documents)


class HybridHead(StateHead):
    """MLP -> angles -> circuit -> state."""

    def __init__(
        self,
        embedding_dim: int,
        hidden_layers: Sequence[int],
        dropout: float,
        circuit: TrainedCircuit,
        angles: str = "bounded",
    ) -> None:
        super().__init__()
        n_angles = circuit.ansatz.n_angles
        self.predictor = AnglePredictor(embedding_dim, hidden_layers, n_angles, dropout, angles)
        self.circuit = circuit

    def represent(self, embeddings: Tensor) -> Tensor:
        return self.circuit(self.predictor(embeddings))  # type: ignore[no-any-return]

    def circuit_parameters(self) -> list[nn.Parameter]:
        return [weights for weights in self.circuit.parameters() if weights.requires_grad]


def with_frozen_circuit(hybrid: HybridHead) -> HybridHead:
    """Let a hybrid keep a random circuit: what it is worth that the circuit learns.

    Scales within a half of 1, so that every angle turns; shifts and the entangler's
    angles anywhere on the circle.
    """
    circuit = hybrid.circuit
    scale, others = circuit.weights.detach().tensor_split([circuit.ansatz.n_angles])
    nn.init.uniform_(scale, 0.5, 1.5)
    nn.init.uniform_(others, -math.pi, math.pi)
    circuit.weights.requires_grad_(False)
    return hybrid


class AmplitudeHead(StateHead):
    """MLP -> the real and imaginary parts of all amplitudes, normalised.

    Simulation needs no circuit; `circuits.preparing_circuit` gives what a device would run.
    """

    def __init__(
        self,
        embedding_dim: int,
        hidden_layers: Sequence[int],
        dropout: float,
        n_qubits: int,
        precision: str,
    ) -> None:
        super().__init__()
        self.layers = mlp(embedding_dim, hidden_layers, 2 * 2**n_qubits, dropout)
        self._dtype = _DTYPES[precision]

    def represent(self, embeddings: Tensor) -> Tensor:
        parts = normalize(self.layers(embeddings).to(self._dtype), dim=-1)
        return torch.complex(*parts.chunk(2, dim=-1))


class QuantumOnlyHead(StateHead):
    """A fixed random projection in the place of the MLP: what the circuit does alone.

    Rows of the projection are orthonormal where there is room, and scaled so that
    an angle's standard deviation over random unit vectors is about 1 radian.
    """

    projection: Tensor

    def __init__(self, embedding_dim: int, circuit: TrainedCircuit) -> None:
        super().__init__()
        weights = torch.empty(circuit.ansatz.n_angles, embedding_dim)
        nn.init.orthogonal_(weights, gain=embedding_dim**0.5)
        self.register_buffer("projection", weights)
        self.circuit = circuit

    def represent(self, embeddings: Tensor) -> Tensor:
        return self.circuit(embeddings @ self.projection.T)  # type: ignore[no-any-return]

    def circuit_parameters(self) -> list[nn.Parameter]:
        return list(self.circuit.parameters())
