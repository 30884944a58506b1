"""Gradient clipping, and statistics of an epoch's gradients in the MLP and in the circuit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from quantum_rerank.similarity import FusedSimilarity

MLP_NORM, CIRCUIT_NORM = "mlp_grad_norm", "circuit_grad_norm"
CIRCUIT_VARIANCE = "circuit_grad_variance"

# Deviation of the circuit's gradients over the loss. Trainings with 2 to 12 qubits and 3 or 8
# layers start with 7e-3 to 3e-2, whether warmed up or not.
_VANISHED = 1e-4


class GradientWatch:
    """Clips gradients and collects their statistics in the same pass."""

    def __init__(self, model: FusedSimilarity) -> None:
        self._parameters = list(model.parameters())
        self._classical = {id(parameter) for parameter in model.head.classical_parameters()}
        # The fusion weight's logit learns with the circuit, but is not one of its weights.
        self._circuit = {id(parameter) for parameter in model.head.circuit_parameters()}
        self.start()

    def start(self) -> None:
        """Start an epoch: reset the statistics."""
        self._steps = self._entries = 0
        self._mlp_norms = self._circuit_norms = 0.0
        self._sum = self._squares = 0.0

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradients of a step down to a norm of at most `max_norm`, as torch does.

        Returns:
            The norm before scaling.
        """
        graded = [parameter for parameter in self._parameters if parameter.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(_gradient(weights)) for weights in graded])
        total: Tensor = torch.linalg.vector_norm(norms)
        self._count(graded, norms.tolist())
        clip_grads_with_norm_(graded, max_norm, total)
        return total

    def _count(self, graded: Sequence[nn.Parameter], norms: Sequence[float]) -> None:
        mlp = circuit = 0.0
        for parameter, norm in zip(graded, norms, strict=True):
            if id(parameter) in self._classical:
                mlp += norm**2
            elif id(parameter) in self._circuit:
                circuit += norm**2
                self._sum += _gradient(parameter).sum().item()
                self._entries += parameter.numel()
        self._steps += 1
        self._squares += circuit
        self._mlp_norms += math.sqrt(mlp)
        self._circuit_norms += math.sqrt(circuit)

    def metrics(self) -> dict[str, float]:
        """Return the mean of each norm over the steps, and the variance over weights and steps."""
        metrics = {}
        if self._steps and self._classical:
            metrics[MLP_NORM] = self._mlp_norms / self._steps
        if self._entries:
            metrics[CIRCUIT_NORM] = self._circuit_norms / self._steps
            metrics[CIRCUIT_VARIANCE] = self._variance()
        return metrics

    def warning(self, loss: float) -> str:
        """Return a warning if the circuit's gradients vanish beside the loss; else nothing.

        McClean et al., "Barren plateaus in quantum neural network training landscapes", Nature
        Communications 9, 4812, 2018: the variance falls with 2 to the power of the qubits.
        """
        if not self._entries or math.sqrt(self._variance()) >= _VANISHED * loss:
            return ""
        return (
            f"The circuit's gradients vanish: their standard deviation is "
            f"{math.sqrt(self._variance()):.1g} at a loss of {loss:.3g}, as on a barren plateau. "
            "Fewer qubits or layers make it less likely."
        )

    def _variance(self) -> float:
        return max(self._squares / self._entries - (self._sum / self._entries) ** 2, 0.0)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
