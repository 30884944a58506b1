"""What stands between an embedding and an affinity: the arms of every comparison.

A head turns each text into a representation once, and compares representations
in pairs: N queries and M documents cost N + M circuits, not N x M. All arms
stand behind this one interface, so that nothing else knows which one it trains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from quantum_rerank.circuits import Ansatz
from quantum_rerank.similarity.angle_predictor import AnglePredictor, mlp
from quantum_rerank.similarity.fidelity import TrainedCircuit, fidelity
from quantum_rerank.similarity.gate import DistanceGate


class Head(nn.Module, ABC):
    """A learned affinity of two texts.

    gate: how much of it counts for a query, if that is not the same for all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate: DistanceGate | None = None

    @abstractmethod
    def represent(self, embeddings: Tensor) -> Tensor:
        """(n, embedding_dim) float32 -> (n, size), whatever `compare` takes."""

    @abstractmethod
    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        """(..., q, size) and (..., d, size) -> (..., q, d) affinities of at most 1."""

    def classical_parameters(self) -> list[nn.Parameter]:
        """Weights that learn at the MLP's rate."""
        circuit = {id(parameter) for parameter in self.circuit_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in circuit]

    def circuit_parameters(self) -> list[nn.Parameter]:
        """Weights that learn at the circuit's rate."""
        return []


class HybridHead(Head):
    """MLP -> angles -> circuit -> state; affinity is the fidelity of two states."""

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

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return fidelity(queries, documents)

    def circuit_parameters(self) -> list[nn.Parameter]:
        return list(self.circuit.parameters())


class QuantumOnlyHead(Head):
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

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return fidelity(queries, documents)

    def circuit_parameters(self) -> list[nn.Parameter]:
        return list(self.circuit.parameters())


class MlpTwinHead(Head):
    """The hybrid's classical twin: the same trunk and number of outputs, cosine for circuit."""

    def __init__(
        self, embedding_dim: int, hidden_layers: Sequence[int], dropout: float, n_outputs: int
    ) -> None:
        super().__init__()
        self.layers = mlp(embedding_dim, hidden_layers, n_outputs, dropout)

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(self.layers(embeddings), dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT


class CosineHead(Head):
    """The embeddings as they are: the baseline that every result stands beside."""

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(embeddings, dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT


def build_head(
    arm: str,
    embedding_dim: int,
    hidden_layers: Sequence[int],
    dropout: float,
    n_qubits: int,
    n_layers: int,
    entangler: str,
    engine: str,
    precision: str = "float64",
    threads: int = 1,
    start: str = "full",
    angles: str = "bounded",
    gate: str = "none",
    centroids: int = 1,
) -> Head:
    """Build the head of an arm: `hybrid`, `mlp_twin`, `quantum_only` or `cosine`.

    start: of the circuit's weights, as of `TrainedCircuit`.  angles: as of `AnglePredictor`.
    gate: `none`, or `distance` to that many centroids.
    """
    ansatz = Ansatz(n_qubits, n_layers, entangler)
    head: Head
    if arm == "hybrid":
        circuit = TrainedCircuit(ansatz, engine, precision, threads, start)
        head = HybridHead(embedding_dim, hidden_layers, dropout, circuit, angles)
    elif arm == "mlp_twin":
        head = MlpTwinHead(embedding_dim, hidden_layers, dropout, ansatz.n_angles)
    elif arm == "quantum_only":
        circuit = TrainedCircuit(ansatz, engine, precision, threads, start)
        head = QuantumOnlyHead(embedding_dim, circuit)
    elif arm == "cosine":
        head = CosineHead()
    else:
        raise ValueError(f"`{arm}` is no arm. Known: hybrid, mlp_twin, quantum_only, cosine.")
    if gate == "distance":
        head.gate = DistanceGate(centroids, embedding_dim)
    return head
