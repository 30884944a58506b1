"""Engines: from angles to states, differentiably.

`lightning.qubit` is the device of a trial by default, `statevector` the fastest for
batches, `torch` for GPUs and export, `qnode` the reference. A new engine is one
class and one entry of ENGINES in `circuits/config.py`, and joins the conformance suite.
"""

from __future__ import annotations

import warnings

import torch

from quantum_rerank.circuits.ansatz import Ansatz
from quantum_rerank.circuits.config import ENGINES
from quantum_rerank.circuits.engines.engine import Engine

REFERENCE = "qnode"


def make_engine(name: str, ansatz: Ansatz, precision: str = "float64", threads: int = 1) -> Engine:
    """Build an engine by its name.

    Where lightning's undocumented module has changed its shape, the reference
    takes over with a warning: the same numbers, slower.

    Args:
        name: A key of ENGINES.
        ansatz: The circuit.
        precision: `float64` or `float32`.
        threads: Number of threads, for an engine that uses them: torch has a setting of its
            own, and lightning takes one text at a time.

    Raises:
        ConfigError: No engine has this name.
    """
    engine_class = ENGINES[ENGINES.check(name)]
    try:
        engine = engine_class(ansatz, precision, threads)
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


__all__ = ["Engine", "make_engine"]
