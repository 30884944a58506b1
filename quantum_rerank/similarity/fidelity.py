"""The quantum half: angles to states, and how close two states are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quantum_rerank.circuits import CircuitConfig, Weights, make_engine

_STARTS = {"full": 1.0, "near_identity": 0.1}


def fidelity(left: Tensor, right: Tensor) -> Tensor:
    """Return |<a|b>|^2 of every pair of pure states.

    Args:
        left: (..., a, dimension) complex, normalised.
        right: (..., b, dimension) complex, normalised.

    Returns:
        (..., a, b) real, from 0 (orthogonal) to 1 (equal up to a phase).

    >>> zero, plus = torch.tensor([[1, 0j]]), torch.tensor([[1, 1 + 0j]]) / 2**0.5
    >>> round(fidelity(zero, plus).item(), 6)
    0.5
    """
    exporting = torch.compiler.is_compiling()
    if left.dim() == 2 and left.device.type == "cpu" and not exporting:
        if torch.is_inference_mode_enabled():
            return torch.from_numpy(_squared_moduli(_overlap(left, right)))
        result: Tensor = _Fidelity.apply(left, right)  # type: ignore[no-untyped-call]
        return result
    return _fidelity(left, right)


def _fidelity(left: Tensor, right: Tensor) -> Tensor:
    overlap = left @ right.mH
    return (overlap * overlap.conj()).real


def _overlap(left: Tensor, right: Tensor) -> NDArray[Any]:
    # The conjugated factor is also the transposed one: BLAS does both on the way.
    overlap: NDArray[Any] = (left @ right.mH).numpy()
    return overlap


def _squared_moduli(amplitudes: NDArray[Any]) -> NDArray[Any]:
    from quantum_rerank.circuits.engines.kernels import squared_moduli

    result = np.empty(amplitudes.shape, amplitudes.real.dtype)
    squared_moduli(amplitudes, result)
    return result


class _Fidelity(torch.autograd.Function):
    """`_fidelity` on a CPU: two matrix products, and one pass between them instead of five."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        overlap = _overlap(left, right)
        ctx.save_for_backward(left, right)
        ctx.overlap = overlap
        return torch.from_numpy(_squared_moduli(overlap))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from quantum_rerank.circuits.engines.kernels import twice_scaled

        left, right = ctx.saved_tensors
        if torch.is_grad_enabled():  # second derivatives are computed
            # Views, since the two may be the same tensor and each gets its share.
            sides = [x.view_as(x) for x in (left, right)]
            inputs = [side for side in sides if side.requires_grad]
            value = _fidelity(*sides)
            pulled = iter(torch.autograd.grad(value, inputs, gradients[0], create_graph=True))
            return tuple(next(pulled) if side.requires_grad else None for side in sides)
        scaled = np.empty_like(ctx.overlap)
        twice_scaled(ctx.overlap, gradients[0].numpy(), scaled)
        weighted = torch.from_numpy(scaled)
        return weighted @ right, weighted.mH @ left


class TrainedCircuit(nn.Module):
    """A circuit with weights: a scale and a shift of each angle, and the entangler's angles.

    With the start `full` every scale is 1 and every shift 0, so that the circuit turns by
    just the predicted angles; a ZZ angle starts at pi/2, where it entangles most.

    With the start `near_identity` scales and ZZ angles begin at a tenth, so that each rotation
    turns by a tenth of the predicted angle, and states begin near |0...0>, which CNOTs leave as
    it is. Their fidelity with it is at least 1 - (s / 2)**2, for s the sum of the RYs' angles:
    the less, the more qubits and layers there are. No block is the identity. In Grant et al.,
    "An initialization strategy for addressing barren plateaus", Quantum 3, 214, 2019,
    parameters are chosen so that each is. Nearer is Zhang et al., "Escaping from the barren
    plateau via Gaussian initializations in deep variational quantum circuits", NeurIPS 2022,
    but their angles are random, and the smaller the deeper the circuit: their proofs do not
    hold for these angles.
    """

    def __init__(self, config: CircuitConfig) -> None:
        super().__init__()
        self.ansatz = ansatz = config.ansatz
        scale, shift = torch.ones(ansatz.n_angles), torch.zeros(ansatz.n_shifts)
        entangler = torch.full((ansatz.n_entangler_angles,), math.pi / 2)
        self.weights = nn.Parameter(_STARTS[config.start] * torch.cat([scale, shift, entangler]))
        self._engine = make_engine(config.engine, ansatz, config.precision, config.threads)

    def forward(self, angles: Tensor) -> Tensor:
        """Run the circuit, (batch, n_angles) radians -> (batch, 2**n_qubits) complex amplitudes."""
        weights = Weights(self.weights, self.ansatz.n_angles, self.ansatz.n_shifts)
        return self._engine.states(angles, weights)
