"""The lexical part of a score: BM25 beside the cosine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantum_rerank.lexical import Lexicon


class LexicalPart(nn.Module):
    """The weight v of a lexical score in the first-stage score (1 - v) cosine + v lexical.

    The weight is a buffer, so that it is saved and exported with the model's weights.

    Attributes:
        weight: v, from 0 to 1. It is fitted on validation.
        lexicon: Term frequencies of the training's corpora, by which texts of no corpus are
            scored. None until a training or a bundle sets it.
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(()))
        self.lexicon: Lexicon | None = None
