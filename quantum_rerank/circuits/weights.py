"""The circuit's weights, which turn predicted angles into the angles of its gates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Weights(NamedTuple):
    """Trained parameters of a circuit, in one tensor: every tensor has a cost in each step.

    Attributes:
        values: (n_angles + n_shifts + n_entangler_angles,): a scale for each predicted angle, a
            shift for each of the first `n_shifts`, and the entangler's angles in radians.
        n_angles: Number of predicted angles.
        n_shifts: Number of predicted angles with a shift.
    """

    values: Tensor
    n_angles: int
    n_shifts: int

    def columns(self, angles: Tensor) -> Tensor:
        """Return one angle per gate: scale * angle + shift, then the entangler's angles.

        Args:
            angles: (batch, n_angles) radians.

        Returns:
            (batch, n_columns) radians.

        >>> weights = Weights(torch.tensor([2.0, 1.0, 0.5, 0.1]), n_angles=2, n_shifts=1)
        >>> weights.columns(torch.tensor([[1.0, 1.0]]))
        tensor([[2.5000, 1.0000, 0.1000]])
        """
        scale, shift = self.values[: self.n_angles], self.values[self.n_angles :][: self.n_shifts]
        entangler = self.values[self.n_angles + self.n_shifts :]
        unshifted = scale.new_zeros(self.n_angles - self.n_shifts)
        columns = torch.addcmul(torch.cat([shift, unshifted]), scale, angles)
        return torch.cat([columns, entangler.expand(angles.shape[0], -1)], dim=1)
