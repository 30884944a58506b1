"""The circuit as data, and the engines that run it."""

from quantum_rerank.circuits.ansatz import Ansatz, Gate
from quantum_rerank.circuits.engines import ENGINES, Engine, make_engine
from quantum_rerank.circuits.state_preparation import preparing_circuit
from quantum_rerank.circuits.weights import Weights

__all__ = ["ENGINES", "Ansatz", "Engine", "Gate", "Weights", "make_engine", "preparing_circuit"]
