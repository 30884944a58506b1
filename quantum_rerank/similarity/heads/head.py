"""The interface of all models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from quantum_rerank.similarity.angle_predictor import LinearPath
from quantum_rerank.similarity.config import ModelConfig
from quantum_rerank.similarity.gate import NearestGate
from quantum_rerank.similarity.lexical_part import LexicalPart

Component = Literal["mlp", "state", "circuit", "entangler", "linear"]


class Head(nn.Module, ABC):
    """A learned affinity of two texts.

    Each text is represented once, and representations are compared in pairs: N queries
    and M documents cost N + M circuits, not N x M.

    Attributes:
        description: The affinity in a few words, for model cards and reports.
        components: The parts that the model consists of.
        is_trainable: The model has weights to train.
        output_length: Length of the MLP's outputs at the start, with a linear path.
        gate: Share of the affinity per query, if it is not the same for all queries.
        lexical: Weight of a lexical score beside the cosine, if the model has one.
    """

    description: ClassVar[str]
    components: ClassVar[frozenset[Component]] = frozenset()
    is_trainable: ClassVar[bool] = True
    output_length: ClassVar[float] = 1.0

    @abstractmethod
    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        """Draw the initial weights.

        Args:
            config: The sections that shape the model; `circuit.engine` is resolved.
            embedding_dim: Width of the text embeddings.
        """
        super().__init__()
        self.gate: NearestGate | None = None
        self.lexical: LexicalPart | None = None

    @abstractmethod
    def represent(self, embeddings: Tensor) -> Tensor:
        """Represent texts, (n, embedding_dim) float32, as (n, size), the input of `compare`."""

    @abstractmethod
    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Compare (..., q, size) and (..., d, size): (..., q, d) affinities of at most 1."""

    @classmethod
    def n_outputs(cls, config: ModelConfig) -> int:
        """Return the number of outputs of the model's MLP, if it has one."""
        return config.mlp.outputs or config.circuit.ansatz.n_angles

    def discriminants(self) -> list[tuple[Tensor, float]]:
        """Return the linear maps, (n_outputs, embedding_dim), that start as a discriminant.

        Each is returned with the length to which it maps a text, on average.
        """
        paths = (module for module in self.modules() if isinstance(module, LinearPath))
        return [(path.linear.weight, self.output_length) for path in paths]

    def started(self, embeddings: Tensor) -> None:
        """Adapt other weights to the maps, once these start as the discriminant.

        Args:
            embeddings: Training queries, (n, embedding_dim).
        """

    def classical_parameters(self) -> list[nn.Parameter]:
        """Return the weights that learn at the MLP's rate."""
        circuit = {id(weights) for weights in self.circuit_parameters()}
        return [w for w in self.parameters() if w.requires_grad and id(w) not in circuit]

    def circuit_parameters(self) -> list[nn.Parameter]:
        """Return the weights that learn at the circuit's rate."""
        return []

    @property
    def n_trained(self) -> int:
        """Number of trained parameters, by which models are comparable."""
        return sum(weights.numel() for weights in self.parameters() if weights.requires_grad)
