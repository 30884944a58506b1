"""`lightning.qubit` driven through its C++ state vector, text by text.

A QNode pays PennyLane's queueing and tape for every circuit, and lightning's
QNode refuses the adjoint method for states. Here its gates move the state, and back
through the inverse gates the cotangent, layer by layer; RY and RZ of a qubit
are one call of Rot. This avoids the list of operations per text of lightning's
vector-Jacobian product. The C++ module is not a documented API: the conformance
suite compares it with the QNode.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import repeat
from threading import local
from typing import Any

import numpy as np
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
from quantum_rerank.circuits.engines.statevector import cnot_orders, zz_edges
from quantum_rerank.circuits.weights import Weights

_ROWS = 32  # texts whose angles are lists at the same time
_CHUNK_BYTES = 2**22  # of cotangents at a time: they stay in a core's cache

Parameters = list[list[float]]  # of gates in sequence


class LightningEngine(Engine):
    """States and gradients of one ansatz by lightning's C++ kernels."""

    def __init__(self, ansatz: Ansatz, precision: str, threads: int) -> None:
        from pennylane_lightning import lightning_qubit_ops

        self.dtype = REAL[precision]
        self._complex = COMPLEX[precision]
        self._ansatz = ansatz
        self._dimension = 2**ansatz.n_qubits
        vectors = {
            "float64": lightning_qubit_ops.StateVectorC128,
            "float32": lightning_qubit_ops.StateVectorC64,
        }
        self._make_state = partial(vectors[precision], ansatz.n_qubits)
        # A state vector per thread, because C++ lets other threads in between two gates. A lock
        # around a shared one could be held by another thread while a process forks, and would
        # then never be released in the child.
        self._local = local()
        self._wires = [[q] for q in range(ansatz.n_qubits)]
        # CNOTs after the last layer only reorder amplitudes, which numpy does for the whole batch.
        self._is_chain = ansatz.entangler == "cnot_chain"
        self._links = [list(gate.wires) for gate in ansatz.layers[0].entangler]
        self._order, self._inverse = cnot_orders(ansatz)
        self._edges = zz_edges(ansatz)

    def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
        """See `Engine.states`."""
        return adjoint_states(self, angles, weights)

    def forward(self, angles: Angles, keep: bool) -> tuple[Amplitudes, Any]:
        """See `adjoint.TwoPasses.forward`; saves the states after each layer's rotations."""
        n_kept = self._ansatz.n_layers if keep else 1
        after = np.empty((len(angles), n_kept, self._dimension), dtype=self._complex)
        state, rotate, entangle = self._of_this_thread()
        all_wires, all_links = self._wires, self._links
        # Plain loops over bound methods: a helper, or a check of lengths, would cost as much as
        # the gates.
        for states, (rotations, links) in zip(after, self._plain(angles)):  # noqa: B905
            state.resetStateVector()
            for layer, parameters in enumerate(rotations):
                if layer:
                    for wires, angle in zip(all_links, links[layer - 1]):  # noqa: B905
                        entangle(wires, False, angle)
                for wires, triple in zip(all_wires, parameters):  # noqa: B905
                    rotate(wires, False, triple)
                if keep:
                    state.getState(states[layer])
            if not keep:
                state.getState(states[0])
        last = after[:, -1]
        return last[:, self._order] if self._is_chain else last.copy(), (angles, after)

    def backward(self, saved: Any, states: Amplitudes, cotangents: Amplitudes) -> Angles:
        """See `adjoint.TwoPasses.backward`."""
        from quantum_rerank.circuits.engines.kernels import layer_gradients

        angles, after = saved
        gradient = np.empty(angles.shape, dtype=self.dtype)
        size = max(_CHUNK_BYTES // (after.shape[1] * self._dimension * states.itemsize), 1)
        for start in range(0, len(angles), size):
            rows = slice(start, start + size)
            pulled = self._pull_back(angles[rows], cotangents[rows])
            layer_gradients(after[rows], pulled, angles[rows], self._edges, gradient[rows])
        return gradient

    def _pull_back(self, angles: Angles, cotangents: Amplitudes) -> Amplitudes:
        """Return the cotangents after each layer's rotations, (batch, n_layers, 2**n_qubits)."""
        last = self._ansatz.n_layers - 1
        pulled = np.empty((len(angles), last + 1, self._dimension), dtype=self._complex)
        pulled[:, last] = cotangents[:, self._inverse] if self._is_chain else cotangents
        state, rotate, entangle = self._of_this_thread()
        # From the last to the first: the CNOTs of a chain do not commute.
        all_wires, all_links = self._wires, self._links[::-1]
        for cotangent, (rotations, links) in zip(pulled, self._plain(angles)):  # noqa: B905
            state.updateData(cotangent[last])
            for layer in range(last - 1, -1, -1):
                for wires, triple in zip(all_wires, rotations[layer + 1]):  # noqa: B905
                    rotate(wires, True, triple)
                for wires, angle in zip(all_links, reversed(links[layer])):  # noqa: B905
                    entangle(wires, True, angle)
                state.getState(cotangent[layer])
        return pulled

    def _of_this_thread(self) -> tuple[Any, Any, Any]:
        """Return the thread's state vector, its rotation and the entangler's gate, bound once."""
        gates: tuple[Any, Any, Any] | None = getattr(self._local, "gates", None)
        if gates is None:
            state = self._make_state()
            entangle = state.CNOT if self._is_chain else state.IsingZZ
            gates = self._local.gates = (state, state.Rot, entangle)
        return gates

    def _plain(self, angles: Angles) -> Iterator[tuple[list[Parameters], list[Parameters]]]:
        """Yield per text and layer [0, RY, RZ] of each qubit, as for Rot, and the links' angles."""
        batch, n_layers, n_qubits = len(angles), self._ansatz.n_layers, self._ansatz.n_qubits
        data = angles[:, : self._ansatz.n_angles].reshape(batch, n_layers, 2, n_qubits)
        rotations = np.zeros((batch, n_layers, n_qubits, 3))
        rotations[..., 1:] = data.swapaxes(2, 3)
        nothing: list[Parameters] = [[[] for _ in self._links]] * (n_layers - 1)
        per_layer = 0 if self._is_chain else len(self._links)
        weights = angles[:, self._ansatz.n_angles :].reshape(batch, n_layers - 1, per_layer, 1)
        # By a few rows: lists of a whole batch would keep the garbage collector busy.
        for start in range(0, batch, _ROWS):
            rows = slice(start, start + _ROWS)
            chain = repeat(nothing)
            yield from zip(
                rotations[rows].tolist(),
                chain if self._is_chain else weights[rows].tolist(),
                strict=False,
            )
