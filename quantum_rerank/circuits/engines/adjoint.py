"""The adjoint method as a torch function, over the two passes of an engine.

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
    """An engine with a forward and a backward pass, as `adjoint_states` needs it."""

    def forward(self, angles: Angles, keep: bool) -> tuple[Amplitudes, Any]:
        """Simulate states.

        Args:
            angles: (batch, n_columns) radians of any precision.
            keep: `backward` will be called.

        Returns:
            States, (batch, 2**n_qubits), and the data that `backward` needs.
        """
        ...

    def backward(self, saved: Any, states: Amplitudes, cotangents: Amplitudes) -> Angles:
        """Pull d loss / d states back to the angles.

        Args:
            saved: The data of `forward`.
            states: (batch, 2**n_qubits).
            cotangents: (batch, 2**n_qubits), torch's convention dL/dRe + i dL/dIm.

        Returns:
            (batch, n_columns).
        """
        ...


def adjoint_states(engine: TwoPasses, angles: Tensor, weights: Weights | None) -> Tensor:
    """Simulate states by an engine, with its backward pass as their gradient.

    Args:
        engine: The two passes.
        angles: (batch, n_angles) with weights, (batch, n_columns) without.
        weights: The circuit's own weights.

    Raises:
        ValueError: The angles are not on the CPU.
    """
    if angles.device.type != "cpu":
        raise ValueError(
            f"The angles are on `{angles.device}`, but this engine needs them on the CPU. "
            "The engine `torch` computes where they are."
        )
    if angles.dtype not in (torch.float32, torch.float64):  # by autocast; numpy has no bfloat16
        angles = angles.float()
    values, n_shifts = (None, 0) if weights is None else (weights.values, weights.n_shifts)
    has_gradient = angles.requires_grad or (values is not None and values.requires_grad)
    # Checked here: within the function, torch says that every input needs a gradient.
    keep = has_gradient and torch.is_grad_enabled()
    states: Tensor = _States.apply(engine, keep, n_shifts, angles, values)  # type: ignore[no-untyped-call]
    return states


class _States(torch.autograd.Function):
    """From predicted angles to states in one step: a node of torch's graph is expensive."""

    @staticmethod
    def forward(
        ctx: Any,
        engine: TwoPasses,
        keep: bool,
        n_shifts: int,
        angles: Tensor,
        weights: Tensor | None,
    ) -> Tensor:
        columns = angles.numpy(force=True)
        if weights is not None:
            columns = _columns(columns, weights.numpy(force=True), n_shifts)
        amplitudes, saved = engine.forward(columns, keep)
        states = torch.from_numpy(amplitudes)
        # Saved by torch, which then notices if they are changed in place.
        ctx.save_for_backward(states, angles, weights)
        ctx.engine, ctx.saved, ctx.n_shifts = engine, saved, n_shifts
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("This engine has no second derivatives; the engine `torch` has.")
        states, angles, weights = ctx.saved_tensors
        cotangents = np.ascontiguousarray(gradients[0].resolve_conj().numpy())
        gradient = ctx.engine.backward(ctx.saved, states.numpy(), cotangents)
        if weights is None:
            return None, None, None, torch.from_numpy(gradient).to(angles.dtype), None
        of_both = _through_weights(gradient, angles.numpy(), weights.numpy(), ctx.n_shifts)
        return None, None, None, *map(torch.from_numpy, of_both)


def _columns(angles: Angles, weights: Angles, n_shifts: int) -> Angles:
    """Compute `Weights.columns` at a tenth of its cost for a small batch."""
    from quantum_rerank.circuits.engines.kernels import weighted

    out = np.empty((len(angles), len(weights) - n_shifts), angles.dtype)
    weighted(angles, weights, n_shifts, out)
    return out


def _through_weights(
    gradient: Angles, angles: Angles, weights: Angles, n_shifts: int
) -> tuple[Angles, Angles]:
    """Return the gradients of the predicted angles and of the weights."""
    from quantum_rerank.circuits.engines.kernels import through_weights

    of_angles, of_weights = np.empty_like(angles), np.zeros_like(weights)
    through_weights(gradient, angles, weights, n_shifts, of_angles=of_angles, of_weights=of_weights)
    return of_angles, of_weights
