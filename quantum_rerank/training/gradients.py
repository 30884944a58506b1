"""Gradients clipped, and what an epoch's were like in the MLP and in the circuit."""

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
    """Clips gradients, and counts what it sees: one pass over them for both."""

    def __init__(self, model: FusedSimilarity) -> None:
        self._parameters = list(model.parameters())
        self._classical = {id(parameter) for parameter in model.head.classical_parameters()}
        # The fusion weight's logit learns with the circuit, but is none of its weights.
        self._circuit = {id(parameter) for parameter in model.head.circuit_parameters()}
        self.start()

    def start(self) -> None:
        """An epoch starts: forget what was seen."""
        self._steps = self._entries = 0
        self._mlp_norms = self._circuit_norms = 0.0
        self._sum = self._squares = 0.0

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradients of a step down to `max_norm` over all of them, as torch would.

        Returns: the norm that they had.
        """
        graded = [parameter for parameter in self._parameters if parameter.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(_gradient(one)) for one in graded])
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
        """Of the epoch: each norm's mean over the steps; the variance over weights and steps."""
        found = {}
        if self._steps and self._classical:
            found[MLP_NORM] = self._mlp_norms / self._steps
        if self._entries:
            found[CIRCUIT_NORM] = self._circuit_norms / self._steps
            found[CIRCUIT_VARIANCE] = self._variance()
        return found

    def warning(self, loss: float) -> str:
        """Why the circuit learns nothing, where its gradients are next to nothing beside the loss.

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
