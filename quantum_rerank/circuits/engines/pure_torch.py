"""The circuit in plain torch operations, on the device of the angles.

For a GPU, and for `torch.export`: without compiled loops or a custom gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quantum_rerank.circuits.ansatz import Ansatz
from quantum_rerank.circuits.engines.engine import Engine
from quantum_rerank.circuits.engines.statevector import cnot_orders
from quantum_rerank.circuits.weights import Weights

_DTYPES = {"float64": torch.float64, "float32": torch.float32}


class TorchEngine(Engine):
    """States by torch, gradients by its autograd."""

    def __init__(self, ansatz: Ansatz, precision: str, threads: int) -> None:
        self._ansatz = ansatz
        self._dtype = _DTYPES[precision]
        self._order = torch.from_numpy(cnot_orders(ansatz)[0])

    def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
        """See `Engine.states`."""
        columns = angles if weights is None else weights.columns(angles)
        halves = columns.to(self._dtype) / 2
        # Of each angle: cos and sin for RY, exp(-i a / 2) for RZ and ZZ.
        cosine, sine = halves.cos(), halves.sin()
        phase = torch.complex(cosine, -sine)
        dimension = 2**self._ansatz.n_qubits
        state = torch.zeros(angles.shape[0], dimension, dtype=phase.dtype, device=angles.device)
        state[:, 0] = 1
        for layer in self._ansatz.layers:
            for q in range(self._ansatz.n_qubits):
                y, z = layer.ry[q], layer.rz[q]
                state = _rotated(state, q, cosine[:, y], sine[:, y], phase[:, z])
            if len(self._order):
                state = state[:, self._order.to(angles.device)]
            for gate in layer.entangler:
                if gate.column is not None:
                    state = state * _zz(phase[:, gate.column], gate.wires, dimension)
        return state


def _rotated(state: Tensor, q: int, cosine: Tensor, sine: Tensor, phase: Tensor) -> Tensor:
    """Apply RY, then RZ, to one qubit."""
    batch, dimension = state.shape
    zero, flipped = state.view(batch, 2**q, 2, dimension >> (q + 1)).unbind(2)
    c, s, p = (factor[:, None, None] for factor in (cosine, sine, phase))
    turned = torch.stack([p * (c * zero - s * flipped), p.conj() * (s * zero + c * flipped)], dim=2)
    return turned.reshape(state.shape)


def _zz(phase: Tensor, wires: tuple[int, ...], dimension: int) -> Tensor:
    """Return the diagonal of exp(-i w ZZ / 2), (batch, dimension)."""
    index = torch.arange(dimension, device=phase.device)
    left, right = ((index & (dimension >> (wire + 1))) == 0 for wire in wires)
    return torch.where(left == right, phase[:, None], phase.conj()[:, None])
