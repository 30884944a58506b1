"""The circuit's own weights, and how they turn predicted angles into those of the gates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Weights(NamedTuple):
    """Trained numbers of a circuit, in one tensor: a step pays for every tensor, however small.

    values: (n_angles + n_shifts + n_entangler_angles,): a scale for each predicted angle, a
        shift for each of the first, and the entangler's own angles in radians.
    """

    values: Tensor
    n_angles: int
    n_shifts: int

    def columns(self, angles: Tensor) -> Tensor:
        """One angle per gate: scale * angle + shift, then the entangler's own.

        angles: (batch, n_angles) radians.  Returns: (batch, n_columns).

        >>> weights = Weights(torch.tensor([2.0, 1.0, 0.5, 0.1]), n_angles=2, n_shifts=1)
        >>> weights.columns(torch.tensor([[1.0, 1.0]]))
        tensor([[2.5000, 1.0000, 0.1000]])
        """
        scale, shift = self.values[: self.n_angles], self.values[self.n_angles :][: self.n_shifts]
        entangler = self.values[self.n_angles + self.n_shifts :]
        unshifted = scale.new_zeros(self.n_angles - self.n_shifts)
        columns = torch.addcmul(torch.cat([shift, unshifted]), scale, angles)
        return torch.cat([columns, entangler.expand(angles.shape[0], -1)], dim=1)
