"""The interface behind which all models stand."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from quantum_rerank.similarity.gate import DistanceGate


class Head(nn.Module, ABC):
    """A learned affinity of two texts.

    Each text is represented once, and representations are compared in pairs: N queries
    and M documents cost N + M circuits, not N x M.

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
        circuit = {id(weights) for weights in self.circuit_parameters()}
        return [w for w in self.parameters() if w.requires_grad and id(w) not in circuit]

    def circuit_parameters(self) -> list[nn.Parameter]:
        """Weights that learn at the circuit's rate."""
        return []

    @property
    def n_trained(self) -> int:
        """How many numbers are trained; what a model is comparable by."""
        return sum(weights.numel() for weights in self.parameters() if weights.requires_grad)
