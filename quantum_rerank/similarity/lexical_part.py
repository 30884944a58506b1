"""The lexical part of a score: BM25 beside the cosine."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quantum_rerank.lexical import Lexicon


class LexicalPart(nn.Module):
    """The weight v of a lexical score in the first-stage score (1 - v) cosine + v lexical.

    The weights are buffers, so that they are saved and exported with the model's weights.

    Attributes:
        weight: v beside the model's affinity, from 0 to 1.
        weight_alone: v of the first stage alone, which a gate leaves far queries to.
        lexicon: Term frequencies of the training's corpora, by which texts of no corpus are
            scored. None until a training or a bundle sets it.
    """

    weight: Tensor
    weight_alone: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("weight_alone", torch.zeros(()))
        self.lexicon: Lexicon | None = None

    @property
    def is_used(self) -> bool:
        """True if a weight is not 0."""
        return bool(self.weight) or bool(self.weight_alone)

    def weights(self, share: NDArray[np.float64] | None) -> NDArray[np.float64] | float:
        """Return v, or that of each query for the shares of a gate.

        Args:
            share: (q, 1), see `NearestGate`.
        """
        weight, alone = float(self.weight), float(self.weight_alone)
        return weight if share is None else alone + share * (weight - alone)
