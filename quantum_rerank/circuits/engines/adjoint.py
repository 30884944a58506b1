"""The adjoint method as a torch function: the two passes of an engine that has its own.

Jones and Gacon, "Efficient calculation of gradients in classical simulations of
variational quantum algorithms", arXiv:2009.02823. Each layer keeps or regains the
state psi after its rotations, and pulls the cotangent lambda back to there; the
gradient of an angle is Im <lambda| P |psi> / 2, P the Pauli operator that it turns by.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.circuits.weights import Weights

Angles = NDArray[np.floating]
Amplitudes = NDArray[np.complexfloating]
REAL: dict[str, type[np.floating]] = {"float64": np.float64, "float32": np.float32}
COMPLEX: dict[str, type[np.complexfloating]] = {"float64": np.complex128, "float32": np.complex64}


class TwoPasses(Protocol):
    """What `adjoint_states` needs of an engine."""

    def forward(self, angles: Angles, keep: bool) -> tuple[Amplitudes, Any]:
        """States, (batch, 2**n_qubits), and what `backward` wants kept.

        angles: (batch, n_columns) radians of any precision.
        """
        ...

    def backward(self, kept: Any, states: Amplitudes, cotangents: Amplitudes) -> Angles:
        """Pull d loss / d states back to the angles.

        cotangents: (batch, 2**n_qubits), torch's convention dL/dRe + i dL/dIm.
        Returns: (batch, n_columns).
        """
        ...


def adjoint_states(engine: TwoPasses, angles: Tensor, weights: Weights | None) -> Tensor:
    """States of an engine, with its own backward pass as their gradient.

    Raises: ValueError for angles that are not on the CPU.
    """
    if angles.device.type != "cpu":
        raise ValueError(
            f"The angles are on `{angles.device}`, but this engine needs them on the CPU. "
            "The engine `torch` computes where they are."
        )
    if angles.dtype not in (torch.float32, torch.float64):  # of autocast; numpy has no bfloat16
        angles = angles.float()
    given = (None, None, None) if weights is None else weights
    wanted = any(x is not None and x.requires_grad for x in (angles, *given))
    # Asked here: within the function torch counts every parameter as wanted, gradient or not.
    keep = wanted and torch.is_grad_enabled()
    states: Tensor = _States.apply(engine, keep, angles, *given)  # type: ignore[no-untyped-call]
    return states


class _States(torch.autograd.Function):
    """From predicted angles to states in one step: a node of torch's graph costs more than both."""

    @staticmethod
    def forward(
        ctx: Any,
        engine: TwoPasses,
        keep: bool,
        angles: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        entangler: Tensor | None,
    ) -> Tensor:
        values = angles.numpy(force=True)
        if scale is not None and shift is not None:
            values = _columns(values, scale, shift, entangler)
        amplitudes, kept = engine.forward(values, keep)
        states = torch.from_numpy(amplitudes)
        # Among what is saved, so that torch notices if they are changed in place.
        ctx.save_for_backward(states, angles, scale)
        ctx.engine, ctx.kept = engine, kept
        ctx.n_shifts = 0 if shift is None else len(shift)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("This engine has no second derivatives; the engine `torch` has.")
        states, angles, scale = ctx.saved_tensors
        cotangents = np.ascontiguousarray(gradients[0].resolve_conj().numpy())
        gradient = ctx.engine.backward(ctx.kept, states.numpy(), cotangents)
        if scale is None:
            return None, None, torch.from_numpy(gradient).to(angles.dtype), None, None, None
        of_angles, of_scale, sums = _through_weights(gradient, angles.numpy(), scale.numpy())
        of_entangler = torch.from_numpy(sums[len(scale) :]) if len(sums) > len(scale) else None
        of_shift = torch.from_numpy(sums[: ctx.n_shifts])
        first = (None, None, torch.from_numpy(of_angles), torch.from_numpy(of_scale))
        return *first, of_shift, of_entangler


def _columns(angles: Angles, scale: Tensor, shift: Tensor, entangler: Tensor | None) -> Angles:
    """What `Weights.columns` computes, at a tenth of the cost for a small batch."""
    from quantum_rerank.circuits.engines.kernels import weighted

    own = np.empty(0, angles.dtype) if entangler is None else entangler.numpy(force=True)
    out = np.empty((len(angles), angles.shape[1] + len(own)), angles.dtype)
    weighted(angles, scale.numpy(force=True), shift.numpy(force=True), own, out)
    return out


def _through_weights(gradient: Angles, angles: Angles, scale: Angles) -> tuple[Angles, ...]:
    """Gradients of the predicted angles and of their scale, and the sum of each gate's angle."""
    from quantum_rerank.circuits.engines.kernels import through_weights

    of_angles = np.empty_like(angles)
    of_scale, sums = np.zeros_like(scale), np.zeros(gradient.shape[1], dtype=scale.dtype)
    through_weights(gradient, angles, scale, of_angles, of_scale, sums)
    return of_angles, of_scale, sums
