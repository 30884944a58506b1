"""Models that compare quantum states: affinity is the fidelity of two texts' states."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from quantum_rerank.circuits import CircuitConfig
from quantum_rerank.similarity.angle_predictor import AnglePredictor, mlp
from quantum_rerank.similarity.config import ModelConfig
from quantum_rerank.similarity.fidelity import TrainedCircuit, fidelity
from quantum_rerank.similarity.heads.head import Head

_DTYPES = {"float64": torch.float64, "float32": torch.float32}


class StateHead(Head):
    """A head whose representation of a text is a quantum state, (n, 2**n_qubits) complex."""

    @abstractmethod
    def represent(self, embeddings: Tensor) -> Tensor: ...

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return fidelity(queries, documents)


class HybridHead(StateHead):
    """MLP -> angles -> circuit -> state."""

    description = "fidelity of states by a circuit whose angles an MLP predicts"
    components = frozenset({"mlp", "state", "circuit", "entangler"})

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        circuit = self.circuit_config(config)
        self.predictor = AnglePredictor(embedding_dim, config.mlp, circuit)
        self.circuit = TrainedCircuit(circuit)

    @staticmethod
    def circuit_config(config: ModelConfig) -> CircuitConfig:
        """Return the circuit of the model."""
        return config.circuit

    @classmethod
    def n_outputs(cls, config: ModelConfig) -> int:
        return config.circuit.ansatz.n_angles

    def represent(self, embeddings: Tensor) -> Tensor:
        return self.circuit(self.predictor(embeddings))  # type: ignore[no-any-return]

    def circuit_parameters(self) -> list[nn.Parameter]:
        return [weights for weights in self.circuit.parameters() if weights.requires_grad]


class ProductCircuitHead(HybridHead):
    """The hybrid without entanglement: each state is a product of its qubits' states."""

    description = "the hybrid without its circuit's entangler"
    components = frozenset({"mlp", "state", "circuit"})

    @staticmethod
    def circuit_config(config: ModelConfig) -> CircuitConfig:
        return config.circuit.model_copy(update={"entangler": "none"})


class FrozenCircuitHead(HybridHead):
    """The hybrid with a random circuit that is not trained: the control for its training.

    Scales lie within a half of 1, so that every angle turns; shifts and the entangler's
    angles are uniform on the circle.
    """

    description = "the hybrid with a random circuit that is not trained"

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        circuit = self.circuit
        scale, angles = circuit.weights.detach().tensor_split([circuit.ansatz.n_angles])
        nn.init.uniform_(scale, 0.5, 1.5)
        nn.init.uniform_(angles, -math.pi, math.pi)
        circuit.weights.requires_grad_(False)


class AmplitudeHead(StateHead):
    """MLP -> the real and imaginary parts of all amplitudes, normalised.

    With real amplitudes it predicts the real parts alone. The fidelity is then the squared cosine
    of the outputs.

    Simulation needs no circuit; `circuits.preparing_circuit` gives the one that a device runs.
    """

    description = "fidelity of states whose amplitudes an MLP predicts"
    components = frozenset({"mlp", "state"})

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        self.layers = mlp(embedding_dim, self.n_outputs(config), config.mlp)
        self._dtype = _DTYPES[config.circuit.precision]
        self._is_real = config.circuit.amplitudes == "real"

    @classmethod
    def n_outputs(cls, config: ModelConfig) -> int:
        n_parts = 1 if config.circuit.amplitudes == "real" else 2
        return int(n_parts * 2**config.circuit.n_qubits)

    def represent(self, embeddings: Tensor) -> Tensor:
        parts = normalize(self.layers(embeddings).to(self._dtype), dim=-1)
        if self._is_real:
            return torch.complex(parts, torch.zeros_like(parts))
        return torch.complex(*parts.chunk(2, dim=-1))


class QuantumOnlyHead(StateHead):
    """A fixed random projection in the place of the MLP: the control for the MLP.

    Rows of the projection are orthonormal where there is room, and scaled so that
    an angle's standard deviation over random unit vectors is about 1 radian.
    """

    description = "the hybrid with a random projection that is not trained for its MLP"
    components = frozenset({"state", "circuit", "entangler"})
    projection: Tensor

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        weights = torch.empty(config.circuit.ansatz.n_angles, embedding_dim)
        nn.init.orthogonal_(weights, gain=embedding_dim**0.5)
        self.register_buffer("projection", weights)
        self.circuit = TrainedCircuit(config.circuit)

    def represent(self, embeddings: Tensor) -> Tensor:
        return self.circuit(embeddings @ self.projection.T)  # type: ignore[no-any-return]

    def circuit_parameters(self) -> list[nn.Parameter]:
        return list(self.circuit.parameters())
