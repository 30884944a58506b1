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

Angles = NDArray[np.floating]
Amplitudes = NDArray[np.complexfloating]
REAL: dict[str, type[np.floating]] = {"float64": np.float64, "float32": np.float32}
COMPLEX: dict[str, type[np.complexfloating]] = {"float64": np.complex128, "float32": np.complex64}


class TwoPasses(Protocol):
    """What `adjoint_states` needs of an engine."""

    dtype: type[np.floating]

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


def adjoint_states(angles: Tensor, engine: TwoPasses) -> Tensor:
    """States of an engine, with its own backward pass as their gradient."""
    states: Tensor = _States.apply(angles, engine)  # type: ignore[no-untyped-call]
    return states


class _States(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, angles: Tensor, engine: TwoPasses) -> Tensor:
        values = angles.detach().cpu().numpy()
        amplitudes, kept = engine.forward(values, keep=ctx.needs_input_grad[0])
        states = torch.from_numpy(amplitudes)
        ctx.save_for_backward(states)  # so that torch notices if they are changed in place
        ctx.engine, ctx.kept, ctx.dtype = engine, kept, angles.dtype
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("This engine has no second derivatives; the engine `torch` has.")
        (states,) = ctx.saved_tensors
        cotangents = np.ascontiguousarray(gradients[0].resolve_conj().numpy())
        gradient = ctx.engine.backward(ctx.kept, states.numpy(), cotangents)
        return torch.from_numpy(gradient).to(ctx.dtype), None
