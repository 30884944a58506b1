"""Dropout whose masks are drawn four at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 2**16  # values of a random number of 16 bits
_PER_DRAW = 4  # such numbers in one of 64 bits


class Dropout(nn.Dropout):
    """Layer that sets each value to 0 with a probability, and scales up the others.

    The layer of torch draws a number of 64 bits for each value, which takes as long as the layer
    before it. Here four values share one, so that the probability is a multiple of 2 ** -16; the
    rest are scaled by what is really kept. Masks come from torch's global generator.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Drop values in training, and return them as they are otherwise."""
        n_dropped = round(self.p * _STEPS)
        if not self.training or n_dropped == 0:
            return values
        if n_dropped == _STEPS:
            return torch.zeros_like(values)
        n = values.numel()
        draws = torch.empty(-(-n // _PER_DRAW), dtype=torch.int64).random_(-(2**63), None)
        numbers = draws.view(torch.int16)[:n].view(values.shape)
        kept = (numbers >= n_dropped - _STEPS // 2).to(values.dtype)
        return values * kept.mul_(_STEPS / (_STEPS - n_dropped))
