"""The interface of all engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from quantum_rerank.circuits.ansatz import Ansatz
from quantum_rerank.circuits.weights import Weights


class Engine(ABC):
    """A simulator of one ansatz.

    Attributes:
        uses_threads: The engine can simulate a batch on several threads.
    """

    uses_threads: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, ansatz: Ansatz, precision: str, threads: int) -> None:
        """Prepare the simulation of a circuit.

        Args:
            ansatz: The circuit.
            precision: `float64` or `float32`.
            threads: Number of threads; 1 unless `uses_threads`.
        """

    @abstractmethod
    def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
        """Run the circuit once per text.

        Args:
            angles: Real, radians; with weights (batch, n_angles), turned into one per gate by
                `Weights.columns`; without, (batch, n_columns), one per gate as they are.
            weights: The circuit's own weights.

        Returns:
            (batch, 2**n_qubits) amplitudes with a gradient to `angles`; complex128, or
            complex64 for the precision float32.
        """
