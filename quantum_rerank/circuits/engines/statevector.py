"""All states of a batch at once, by compiled loops: the fastest engine for batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.circuits.ansatz import Ansatz
from quantum_rerank.circuits.engines.adjoint import (
    COMPLEX,
    REAL,
    Amplitudes,
    Angles,
    adjoint_states,
)
from quantum_rerank.circuits.engines.engine import Engine
from quantum_rerank.circuits.weights import Weights

_BLOCK = 128  # texts carried through the circuit together
_WIDTH = 512  # longest run of one loop: its operands stay in the first-level cache
_SCRATCH_BYTES = 2**22  # of states and cotangents of a block


class StatevectorEngine(Engine):
    """States and gradients of one ansatz, batched; see `kernels`."""

    uses_threads = True

    def __init__(self, ansatz: Ansatz, precision: str, threads: int) -> None:
        from quantum_rerank.circuits.engines import kernels

        self._kernels = kernels
        self.dtype = REAL[precision]
        self._complex = COMPLEX[precision]
        self._n_qubits = ansatz.n_qubits
        self._threads = threads
        self._pools: dict[int, ThreadPoolExecutor] = {}  # by the number of their process
        self._order, self._inverse = cnot_orders(ansatz)
        self._edges = zz_edges(ansatz)

    def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
        """See `Engine.states`."""
        return adjoint_states(self, angles, weights)

    def forward(self, angles: Angles, keep: bool) -> tuple[Amplitudes, Any]:
        """See `adjoint.TwoPasses.forward`."""
        cosines, sines = np.empty((2, *angles.shape[::-1]), dtype=self.dtype)
        self._kernels.half_angles(angles, cosines, sines)
        out = np.empty((len(angles), 2**self._n_qubits), dtype=self._complex)
        entangler = self._kernels.Entangler(self._order, self._edges)

        def run(blocks: Any) -> None:
            self._kernels.forward(cosines, sines, entangler, blocks, out)

        self._run(run, len(angles))
        return out, (cosines, sines)

    def backward(self, saved: Any, states: Amplitudes, cotangents: Amplitudes) -> Angles:
        """See `adjoint.TwoPasses.backward`."""
        cosines, sines = saved
        out = np.empty(cosines.shape[::-1], dtype=self.dtype)
        entangler = self._kernels.Entangler(self._inverse, self._edges)

        def run(blocks: Any) -> None:
            self._kernels.backward(
                cosines, sines, entangler, blocks, pulled=(states, cotangents), out=out
            )

        self._run(run, len(out))
        return out

    def _run(self, kernel: Callable[[Any], None], batch: int) -> None:
        """Run a kernel on a batch, whose texts the threads share."""
        share = max(-(-batch // self._threads), 1)
        block = self._block(share)

        def run(first: int) -> None:
            last = min(first + share, batch)
            kernel(self._kernels.Blocks(self._n_qubits, block, _WIDTH, first, last))

        if self._threads == 1:
            run(0)
        else:
            list(self._pool().map(run, range(0, batch, share)))

    def _block(self, batch: int) -> int:
        """Return the texts at a time: as many as the cache holds, in blocks of similar size."""
        room: int = _SCRATCH_BYTES // (4 * 2**self._n_qubits * np.dtype(self.dtype).itemsize)
        n_blocks = -(-batch // min(_BLOCK, max(room, 1)))
        return max(-(-batch // max(n_blocks, 1)), 1)

    def _pool(self) -> ThreadPoolExecutor:
        """Return the pool of this process: a forked process does not have its parent's threads."""
        process = os.getpid()
        if process not in self._pools:
            self._pools = {process: ThreadPoolExecutor(self._threads)}
        return self._pools[process]


def cnot_orders(ansatz: Ansatz) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a layer's CNOTs as one reordering, new[k] = old[order[k]], and its inverse.

    Both are empty for an entangler without CNOTs. All layers have the same CNOTs.

    >>> cnot_orders(Ansatz(n_qubits=2, n_layers=1))[0].tolist()
    [0, 1, 3, 2]
    """
    cnots = [gate for gate in ansatz.layers[0].entangler if gate.name == "CNOT"]
    if not cnots:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    goes_to = np.arange(2**ansatz.n_qubits)
    for gate in cnots:
        control, target = (2**ansatz.n_qubits >> (wire + 1) for wire in gate.wires)
        goes_to = np.where(goes_to & control, goes_to ^ target, goes_to)
    return np.argsort(goes_to), goes_to


def zz_edges(ansatz: Ansatz) -> NDArray[np.int64]:
    """Return the ZZ gates of each layer as bit masks and column, (n_layers, e, 3), padded by -1."""
    rows = [
        [
            (*(2**ansatz.n_qubits >> (wire + 1) for wire in gate.wires), gate.column)
            for gate in layer.entangler
            if gate.column is not None
        ]
        for layer in ansatz.layers
    ]
    edges = np.full((len(rows), max(len(row) for row in rows), 3), -1, dtype=np.int64)
    for layer, row in enumerate(rows):
        edges[layer, : len(row)] = np.array(row, dtype=np.int64).reshape(-1, 3)
    return edges
