"""The circuit's own weights, and how they turn predicted angles into those of the gates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Weights(NamedTuple):
    """Trained numbers of a circuit.

    scale: (n_angles,).  shift: (n_shifts,), of the first angles.
    entangler: (n_entangler_angles,) radians, or None where the entangler has none.
    """

    scale: Tensor
    shift: Tensor
    entangler: Tensor | None

    def columns(self, angles: Tensor) -> Tensor:
        """One angle per gate: scale * angle + shift, then the entangler's own.

        angles: (batch, n_angles) radians.  Returns: (batch, n_columns).

        >>> weights = Weights(torch.tensor([2.0, 1.0]), torch.tensor([0.5]), torch.tensor([0.1]))
        >>> weights.columns(torch.tensor([[1.0, 1.0]]))
        tensor([[2.5000, 1.0000, 0.1000]])
        """
        unshifted = self.scale.new_zeros(len(self.scale) - len(self.shift))
        columns = torch.addcmul(torch.cat([self.shift, unshifted]), self.scale, angles)
        if self.entangler is None:
            return columns
        return torch.cat([columns, self.entangler.expand(angles.shape[0], -1)], dim=1)
