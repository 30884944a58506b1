"""Engines: from angles to states, differentiably.

`lightning.qubit` is the device of a trial by default, `statevector` the fastest for
batches, `torch` for GPUs and export, `qnode` the reference. A new engine is one
class and one line in ENGINES, and joins the conformance suite.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from quantum_rerank.circuits.ansatz import Ansatz
from quantum_rerank.circuits.engines.lightning import LightningEngine
from quantum_rerank.circuits.engines.pure_torch import TorchEngine
from quantum_rerank.circuits.engines.statevector import StatevectorEngine
from quantum_rerank.circuits.qnode import QNodeEngine
from quantum_rerank.circuits.weights import Weights


class Engine(Protocol):
    """A simulator of one ansatz."""

    def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
        """Run the circuit once per text.

        angles: real, radians; with weights (batch, n_angles), turned into one per gate by
            `Weights.columns`; without, (batch, n_columns), one per gate as they are.
        Returns: (batch, 2**n_qubits) amplitudes with a gradient to `angles`; complex128, or
            complex64 for an engine of precision float32.
        """
        ...


REFERENCE = "qnode"

# Built from the ansatz, the precision (`float64` or `float32`) and a number of threads, which
# only `statevector` uses: torch has a setting of its own, lightning takes one text at a time.
ENGINES: dict[str, Callable[[Ansatz, str, int], Engine]] = {
    "lightning.qubit": LightningEngine,
    "statevector": StatevectorEngine,
    "torch": TorchEngine,
    "qnode": QNodeEngine,
}


def make_engine(name: str, ansatz: Ansatz, precision: str = "float64", threads: int = 1) -> Engine:
    """Build the engine of a name; ValueError if there is none.

    Where lightning's undocumented module has changed its shape, the reference
    takes over with a warning: the same numbers, slower.
    """
    if name not in ENGINES:
        raise ValueError(f"`{name}` is no engine. Known: {', '.join(ENGINES)}.")
    try:
        engine = ENGINES[name](ansatz, precision, threads)
        probe = torch.zeros(1, ansatz.n_columns, dtype=torch.float64, requires_grad=True)
        torch.autograd.grad(engine.states(probe).abs().sum(), probe)
    except (ImportError, AttributeError, TypeError) as error:
        if name == REFERENCE:
            raise
        warnings.warn(
            f"The engine `{name}` does not work with what is installed ({error}); "
            f"`{REFERENCE}` takes its place.",
            stacklevel=2,
        )
        return ENGINES[REFERENCE](ansatz, precision, threads)
    return engine


__all__ = ["ENGINES", "Engine", "make_engine"]
