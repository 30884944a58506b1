"""Engines: from angles to states, differentiably.

`lightning.qubit` is the device of every trial; `qnode` is the reference. A new
engine is one class and one line in ENGINES, and joins the conformance suite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from quantum_rerank.circuits.ansatz import Ansatz
from quantum_rerank.circuits.engines.lightning import LightningEngine
from quantum_rerank.circuits.qnode import QNodeEngine


class Engine(Protocol):
    """A simulator of one ansatz."""

    def states(self, angles: Tensor) -> Tensor:
        """Run the circuit once per text.

        angles: (batch, n_columns) real, radians, in the order of the ansatz's columns.
        Returns: (batch, 2**n_qubits) complex128 amplitudes, with a gradient to `angles`.
        """
        ...


ENGINES: dict[str, Callable[[Ansatz], Engine]] = {
    "lightning.qubit": LightningEngine,
    "qnode": QNodeEngine,
}


def make_engine(name: str, ansatz: Ansatz) -> Engine:
    """Build the engine of a name; ValueError if there is none."""
    if name not in ENGINES:
        raise ValueError(f"`{name}` is no engine. Known: {', '.join(ENGINES)}.")
    return ENGINES[name](ansatz)


__all__ = ["ENGINES", "Engine", "make_engine"]
