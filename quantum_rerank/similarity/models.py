"""The registry of the models that are trained and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantum_rerank.registry import Registry

if TYPE_CHECKING:
    from quantum_rerank.similarity.heads.head import Head

_QUANTUM = "quantum_rerank.similarity.heads.quantum"
_CLASSICAL = "quantum_rerank.similarity.heads.classical"

MODELS: Registry[type[Head]] = Registry(
    "model",
    "models",
    {
        "hybrid": f"{_QUANTUM}:HybridHead",
        "hybrid_amplitude": f"{_QUANTUM}:AmplitudeHead",
        "product_circuit": f"{_QUANTUM}:ProductCircuitHead",
        "frozen_circuit": f"{_QUANTUM}:FrozenCircuitHead",
        "quantum_only": f"{_QUANTUM}:QuantumOnlyHead",
        "mlp_twin": f"{_CLASSICAL}:MlpTwinHead",
        "rbf": f"{_CLASSICAL}:GaussianKernelHead",
        "linear_projection": f"{_CLASSICAL}:LinearProjectionHead",
        "discriminant": f"{_CLASSICAL}:DiscriminantHead",
        "low_rank_bilinear": f"{_CLASSICAL}:LowRankBilinearHead",
        "cosine": f"{_CLASSICAL}:CosineHead",
    },
)
