"""`lightning.qubit` driven through its C++ state vector, one call per text.

A QNode pays PennyLane's queueing and tape for every circuit, and lightning's
QNode refuses the adjoint method for states. Its C++ module has both halves: a
state vector with gate methods, and a vector-Jacobian product by the adjoint
method (Jones and Gacon, arXiv:2009.02823). That module is no documented API: the
conformance suite holds it to the QNode.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.circuits.ansatz import Ansatz

Angles = NDArray[np.float64]
Amplitudes = NDArray[np.complex128]


class LightningEngine:
    """States and gradients of one ansatz by lightning's C++ kernels."""

    def __init__(self, ansatz: Ansatz) -> None:
        from pennylane_lightning import lightning_qubit_ops

        # One state vector serves all calls, and C++ lets other threads in between two gates.
        self._lock = Lock()
        self._dimension = 2**ansatz.n_qubits
        self._n_columns = ansatz.n_columns
        self._state = lightning_qubit_ops.StateVectorC128(ansatz.n_qubits)
        self._make_ops = lightning_qubit_ops.algorithms.create_ops_listC128
        self._product = lightning_qubit_ops.algorithms.VectorJacobianProductC128()
        gates = ansatz.gates
        # Bound once: a gate's method, its wires, and the column of its angle.
        self._steps = [(getattr(self._state, g.name), list(g.wires), g.column) for g in gates]
        self._names = [g.name for g in gates]
        self._wires = [list(g.wires) for g in gates]
        self._gate_columns = [g.column for g in gates]
        self._not_inverted = [False] * len(gates)
        self._no_matrices: list[Any] = [np.empty(0, dtype=np.complex128)] * len(gates)
        self._no_controls: list[list[int]] = [[]] * len(gates)
        # The product counts trainable parameters in the order of the gates.
        self._column_of_parameter = [g.column for g in gates if g.column is not None]
        self._trainable = list(range(len(self._column_of_parameter)))

    def states(self, angles: Tensor) -> Tensor:
        """See `engines.Engine.states`."""
        states: Tensor = _LightningStates.apply(angles, self)  # type: ignore[no-untyped-call]
        return states

    def forward(self, angles: Angles) -> Amplitudes:
        """(batch, n_columns) radians -> (batch, 2**n_qubits) amplitudes."""
        out = np.empty((len(angles), self._dimension), dtype=np.complex128)
        state, steps = self._state, self._steps
        with self._lock:
            for row, values in enumerate(angles.tolist()):
                state.resetStateVector()
                for apply, wires, column in steps:
                    apply(wires, False, [] if column is None else [values[column]])
                state.getState(out[row])
        return out

    def backward(self, angles: Angles, states: Amplitudes, cotangents: Amplitudes) -> Angles:
        """Pull d loss / d states back to the angles.

        cotangents: (batch, 2**n_qubits), torch's convention dL/dRe + i dL/dIm.
        Returns: (batch, n_columns) float64.
        """
        gradient = np.zeros((len(angles), self._n_columns))
        with self._lock:
            for row, values in enumerate(angles.tolist()):
                parameters = [[] if c is None else [values[c]] for c in self._gate_columns]
                operations = self._make_ops(
                    self._names,
                    parameters,
                    self._wires,
                    self._not_inverted,
                    self._no_matrices,
                    self._no_controls,
                    self._no_controls,
                )
                self._state.updateData(states[row])
                product = self._product(self._state, operations, cotangents[row], self._trainable)
                gradient[row, self._column_of_parameter] = product.real
        return gradient


class _LightningStates(torch.autograd.Function):
    """Hand an engine's two passes to torch."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, engine: LightningEngine) -> Tensor:
        values = np.ascontiguousarray(angles.detach().cpu().double().numpy())
        states = engine.forward(values)
        ctx.engine, ctx.angles, ctx.states, ctx.dtype = engine, values, states, angles.dtype
        return torch.from_numpy(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        cotangents = np.ascontiguousarray(gradients[0].resolve_conj().numpy())
        gradient = ctx.engine.backward(ctx.angles, ctx.states, cotangents)
        return torch.from_numpy(gradient).to(ctx.dtype), None
