"""What stands between an embedding and an affinity: the models of every comparison.

All models stand behind one interface, so that nothing else knows which one it trains.
A new model is one class and one entry of MODELS, and joins the suite that all must pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from quantum_rerank.circuits import Ansatz
from quantum_rerank.similarity.fidelity import TrainedCircuit
from quantum_rerank.similarity.gate import DistanceGate
from quantum_rerank.similarity.heads.classical import (
    CosineHead,
    GaussianKernelHead,
    LinearProjectionHead,
    LowRankBilinearHead,
    MlpTwinHead,
)
from quantum_rerank.similarity.heads.head import Head
from quantum_rerank.similarity.heads.quantum import (
    AmplitudeHead,
    HybridHead,
    QuantumOnlyHead,
    with_frozen_circuit,
)

Part = Literal["mlp", "state", "circuit", "entangler", "linear"]


@dataclass(frozen=True)
class Parts:
    """What models are built of; each takes what it needs."""

    embedding_dim: int
    hidden_layers: Sequence[int]
    dropout: float
    ansatz: Ansatz
    engine: str
    precision: str
    threads: int
    rank: int
    start: str
    angles: str
    outputs: int

    @property
    def circuit(self) -> TrainedCircuit:
        return TrainedCircuit(self.ansatz, self.engine, self.precision, self.threads, self.start)

    @property
    def trunk(self) -> tuple[int, Sequence[int], float]:
        """The MLP's width at the bottom, its hidden layers, and its dropout."""
        return self.embedding_dim, self.hidden_layers, self.dropout

    @property
    def n_outputs(self) -> int:
        """Of an MLP with no circuit after it."""
        return self.outputs or self.ansatz.n_angles

    def without_entangler(self) -> Parts:
        return replace(self, ansatz=replace(self.ansatz, entangler="none"))


@dataclass(frozen=True)
class ModelSpec:
    """How a model is built, what it is in a few words, and what it is made of."""

    build: Callable[[Parts], Head]
    what: str
    has: frozenset[Part]


def _spec(build: Callable[[Parts], Head], what: str, *has: Part) -> ModelSpec:
    return ModelSpec(build, what, frozenset(has))


MODELS: dict[str, ModelSpec] = {
    "hybrid": _spec(
        lambda of: HybridHead(*of.trunk, of.circuit, of.angles),
        "fidelity of states by a circuit whose angles an MLP predicts",
        *("mlp", "state", "circuit", "entangler"),
    ),
    "hybrid_amplitude": _spec(
        lambda of: AmplitudeHead(*of.trunk, of.ansatz.n_qubits, of.precision),
        "fidelity of states whose amplitudes an MLP predicts",
        *("mlp", "state"),
    ),
    "product_circuit": _spec(
        lambda of: HybridHead(*of.trunk, of.without_entangler().circuit, of.angles),
        "the hybrid without its circuit's entangler",
        *("mlp", "state", "circuit"),
    ),
    "frozen_circuit": _spec(
        lambda of: with_frozen_circuit(HybridHead(*of.trunk, of.circuit, of.angles)),
        "the hybrid with a random circuit that is not trained",
        *("mlp", "state", "circuit", "entangler"),
    ),
    "quantum_only": _spec(
        lambda of: QuantumOnlyHead(of.embedding_dim, of.circuit),
        "the hybrid with a random projection that is not trained for its MLP",
        *("state", "circuit", "entangler"),
    ),
    "mlp_twin": _spec(
        lambda of: MlpTwinHead(*of.trunk, of.n_outputs),
        "the hybrid with the cosine of its MLP's outputs for its circuit",
        "mlp",
    ),
    "rbf": _spec(
        lambda of: GaussianKernelHead(*of.trunk, of.n_outputs),
        "the twin with a Gaussian kernel of its outputs' distance for the cosine",
        "mlp",
    ),
    "linear_projection": _spec(
        lambda of: LinearProjectionHead(of.embedding_dim, of.rank),
        "cosine after one linear map",
        "linear",
    ),
    "low_rank_bilinear": _spec(
        lambda of: LowRankBilinearHead(of.embedding_dim, of.rank),
        "a bilinear form of low rank, of queries with documents",
        "linear",
    ),
    "cosine": _spec(lambda _: CosineHead(), "cosine of the embeddings as they are"),
}


def build_head(
    model: str,
    embedding_dim: int,
    hidden_layers: Sequence[int],
    dropout: float,
    n_qubits: int,
    n_layers: int,
    entangler: str,
    engine: str,
    precision: str = "float64",
    threads: int = 1,
    rank: int = 64,
    start: str = "full",
    angles: str = "bounded",
    outputs: int = 0,
    gate: str = "none",
    centroids: int = 1,
) -> Head:
    """Build the head of a model, a key of MODELS.

    rank: of the models that are linear maps.
    outputs: of the models with an MLP and no circuit; as many as the circuit has angles if 0.
    start: of the circuit's weights, as of `TrainedCircuit`; the frozen circuit has its own.
    angles: as of `AnglePredictor`.
    gate: `none`, or `distance` to that many centroids.
    """
    if model not in MODELS:
        raise ValueError(f"`{model}` is no model. Known: {', '.join(MODELS)}.")
    ansatz = Ansatz(n_qubits, n_layers, entangler)
    parts = Parts(
        embedding_dim,
        hidden_layers,
        dropout,
        ansatz,
        engine,
        precision,
        threads,
        rank,
        start,
        angles,
        outputs,
    )
    head = MODELS[model].build(parts)
    if gate == "distance":
        head.gate = DistanceGate(centroids, embedding_dim)
    return head


__all__ = ["MODELS", "Head", "build_head"]
