"""`lightning.qubit` driven through its C++ state vector, text by text.

A QNode pays PennyLane's queueing and tape for every circuit, and lightning's
QNode refuses the adjoint method for states. Here its gates move the state, and back
through the inverse gates the cotangent, layer by layer; RY and RZ of a qubit
are one call of Rot. What lightning's own vector-Jacobian product spends on a list
of operations per text is not spent. The C++ module is no documented API: the
conformance suite holds it to the QNode.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np
from torch import Tensor

from quantum_rerank.circuits.ansatz import Ansatz, Gate
from quantum_rerank.circuits.engines.adjoint import (
    COMPLEX,
    REAL,
    Amplitudes,
    Angles,
    adjoint_states,
)

_CHUNK_BYTES = 2**22  # of cotangents at a time: they stay in a core's cache


class LightningEngine:
    """States and gradients of one ansatz by lightning's C++ kernels."""

    def __init__(self, ansatz: Ansatz, precision: str, threads: int) -> None:
        from pennylane_lightning import lightning_qubit_ops

        self.dtype = REAL[precision]
        self._complex = COMPLEX[precision]
        self._ansatz = ansatz
        self._dimension = 2**ansatz.n_qubits
        # One state vector serves all calls, and C++ lets other threads in between two gates.
        self._lock = Lock()
        vectors = {
            "float64": lightning_qubit_ops.StateVectorC128,
            "float32": lightning_qubit_ops.StateVectorC64,
        }
        self._state = vectors[precision](ansatz.n_qubits)
        self._wires = [[q] for q in range(ansatz.n_qubits)]
        # Bound once: a gate's method, its wires, and the column of its angle.
        self._entanglers = [[self._bound(gate) for gate in x.entangler] for x in ansatz.layers]

    def states(self, angles: Tensor) -> Tensor:
        """See `engines.Engine.states`."""
        return adjoint_states(angles, self)

    def forward(self, angles: Angles, keep: bool) -> tuple[Amplitudes, Any]:
        """See `adjoint.TwoPasses.forward`; kept are the states after each layer's rotations."""
        n_layers, batch = len(self._entanglers), len(angles)
        out = np.empty((batch, self._dimension), dtype=self._complex)
        kept = np.empty((n_layers if keep else 0, batch, self._dimension), dtype=self._complex)
        state, rotate = self._state, self._state.Rot
        with self._lock:
            for row, (triples, values) in enumerate(self._plain(angles)):
                state.resetStateVector()
                for layer, entangler in enumerate(self._entanglers):
                    for wires, triple in zip(self._wires, triples[layer], strict=True):
                        rotate(wires, False, triple)
                    if keep:
                        state.getState(kept[layer, row])
                    for apply, wires, column in entangler:
                        apply(wires, False, [] if column is None else [values[column]])
                state.getState(out[row])
        return out, (angles, kept)

    def backward(self, kept: Any, states: Amplitudes, cotangents: Amplitudes) -> Angles:
        """See `adjoint.TwoPasses.backward`."""
        from quantum_rerank.circuits.engines.kernels import entangler_gradient, rotation_gradient

        angles, after_rotations = kept
        gradient = np.zeros(angles.shape, dtype=self.dtype)
        layers = self._ansatz.layers
        size = max(_CHUNK_BYTES // (len(layers) * self._dimension * states.itemsize), 1)
        for start in range(0, len(angles), size):
            rows = slice(start, start + size)
            pulled = self._pull_back(angles[rows], cotangents[rows])
            for layer, psi, cotangent in zip(layers, after_rotations[:, rows], pulled, strict=True):
                rotation_gradient(psi, cotangent, angles[rows], layer.ry[0], gradient[rows])
                for gate in layer.entangler:
                    if gate.column is not None:
                        masks = [self._dimension >> (wire + 1) for wire in gate.wires]
                        entangler_gradient(psi, cotangent, *masks, gradient[rows, gate.column])
        return gradient

    def _pull_back(self, angles: Angles, cotangents: Amplitudes) -> Amplitudes:
        """The cotangents after each layer's rotations, (n_layers, batch, 2**n_qubits)."""
        n_layers = len(self._entanglers)
        pulled = np.empty((n_layers, *cotangents.shape), dtype=self._complex)
        state, rotate = self._state, self._state.Rot
        with self._lock:
            for row, (triples, values) in enumerate(self._plain(angles)):
                state.updateData(cotangents[row])
                for layer in reversed(range(n_layers)):
                    for apply, wires, column in reversed(self._entanglers[layer]):
                        apply(wires, True, [] if column is None else [values[column]])
                    state.getState(pulled[layer, row])
                    if layer:
                        for wires, triple in zip(self._wires, triples[layer], strict=True):
                            rotate(wires, True, triple)
        return pulled

    def _plain(self, angles: Angles) -> Iterator[tuple[list[list[list[float]]], list[float]]]:
        """Per text: [0, RY, RZ] by layer and qubit, as Rot takes them, and all its angles."""
        n_layers, n_qubits = len(self._entanglers), self._ansatz.n_qubits
        data = angles[:, : self._ansatz.n_angles].reshape(-1, n_layers, 2, n_qubits)
        triples = np.zeros((len(angles), n_layers, n_qubits, 3))
        triples[..., 1:] = data.swapaxes(2, 3)
        # Row by row: lists of a whole batch would keep the garbage collector busy.
        for row, values in zip(triples, angles, strict=True):
            yield row.tolist(), values.tolist()

    def _bound(self, gate: Gate) -> tuple[Any, list[int], int | None]:
        return getattr(self._state, gate.name), list(gate.wires), gate.column
