"""The circuit as data, and the engines that run it."""

from typing import TYPE_CHECKING

from quantum_rerank.circuits.ansatz import Ansatz, Gate
from quantum_rerank.circuits.config import ENGINES, CircuitConfig
from quantum_rerank.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from quantum_rerank.circuits.engines import Engine, make_engine
    from quantum_rerank.circuits.state_preparation import preparing_circuit
    from quantum_rerank.circuits.weights import Weights
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Engine": "engines",
            "Weights": "weights",
            "make_engine": "engines",
            "preparing_circuit": "state_preparation",
        },
    )

__all__ = [
    "ENGINES",
    "Ansatz",
    "CircuitConfig",
    "Engine",
    "Gate",
    "Weights",
    "make_engine",
    "preparing_circuit",
]
