"""A BERT encoder whose upper layers are trained over cached states of the layers below.

The lower layers do not change, so that each text passes them once. A training step then costs
about a third of one of the whole encoder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from quantum_rerank.embeddings import Embeddings, EncoderSettings, text_model
from quantum_rerank.errors import EmbeddingError
from quantum_rerank.evaluation.query_set import Rows
from quantum_rerank.evaluation.ranking import FloatArray

MAX_TOKENS = 256  # the limit of all-MiniLM-L6-v2, and so of the experiments' vectors
_TEXTS_PER_BATCH = 32  # of similar length, so that little is padded


@dataclass(frozen=True)
class LowerStates:
    """States of texts below the trained layers.

    Attributes:
        tokens: (all tokens, width) float16.
        starts: (n + 1,) the first token of each text; the last is the number of tokens.
    """

    tokens: Tensor
    starts: Tensor

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Tensor:
        """The number of tokens of each text, (n,)."""
        return self.starts.diff()

    def padded(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states of some texts, (b, tokens, width), and their mask, (b, tokens)."""
        texts = [self.tokens[self.starts[row] : self.starts[row + 1]] for row in rows.tolist()]
        states = pad_sequence(texts, batch_first=True).float()
        return states, torch.arange(states.shape[1]) < self.lengths[rows][:, None]

    def taken(self, rows: Tensor) -> LowerStates:
        """Return the states of some texts."""
        texts = [self.tokens[self.starts[row] : self.starts[row + 1]] for row in rows.tolist()]
        return LowerStates(torch.cat(texts), _starts(self.lengths[rows]))


def joined(states: Sequence[LowerStates]) -> LowerStates:
    """Return the states of several lists of texts as those of one."""
    if len(states) == 1:
        return states[0]  # without a copy
    lengths = torch.cat([each.lengths for each in states])
    return LowerStates(torch.cat([each.tokens for each in states]), _starts(lengths))


def _starts(lengths: Tensor) -> Tensor:
    return nn.functional.pad(lengths.cumsum(0), (1, 0))


class UpperLayers(nn.Module):
    """The trained layers of an encoder, with mean pooling and vectors of length 1.

    Args:
        layers: The layers, each called with states and the mask of attention.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Embed texts.

        Args:
            states: (b, tokens, width) float32, states below the layers.
            mask: (b, tokens), whether a token belongs to its text.

        Returns:
            (b, width) float32.
        """
        attention = mask[:, None, None, :]
        # Matrix products of half precision take a third of the time on processors that have them.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for layer in self.layers:
                states = layer(states, attention)
        weights = mask[..., None].float()
        mean = (states.float() * weights).sum(1) / weights.sum(1)
        return nn.functional.normalize(mean, dim=-1)

    def embed(self, states: LowerStates, rows: Tensor) -> Tensor:
        """Embed some texts, (n, width), in batches of similar length."""
        order = torch.argsort(states.lengths[rows], stable=True)
        batches = torch.split(rows[order], _TEXTS_PER_BATCH)
        vectors = torch.cat([self(*states.padded(batch)) for batch in batches])
        return vectors[torch.argsort(order)]


class FrozenBert:
    """The layers of a sentence-transformers model with a BERT that are not trained.

    Args:
        name: The name of the encoder.
        n_trained: The number of upper layers to train.

    Raises:
        EmbeddingError: The model is no BERT with mean pooling.
    """

    def __init__(self, name: str, n_trained: int) -> None:
        from sentence_transformers import SentenceTransformer

        folder = text_model(name, EncoderSettings()).folder
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        bert: Any = getattr(model[0], "auto_model", None)
        if type(bert).__name__ != "BertModel" or getattr(model[1], "pooling_mode", "") != "mean":
            raise EmbeddingError(
                f"`{name}` cannot be fine-tuned here, because it is no BERT with mean pooling. "
                "Use minilm."
            )
        self._tokenizer, self._embeddings = model.tokenizer, bert.embeddings.eval()
        self._lower = bert.encoder.layer[:-n_trained].eval()
        self._upper = bert.encoder.layer[-n_trained:]

    def trainable(self) -> UpperLayers:
        """Return a copy of the upper layers, as they were before any training."""
        layers = copy.deepcopy(self._upper)
        for layer in layers:
            # It would need the attention's matrices, which take half of a step for long texts.
            layer.attention.self.dropout.p = 0.0
        return UpperLayers(layers)

    def states(self, texts: Sequence[str]) -> LowerStates:
        """Return the states of texts, of which at most MAX_TOKENS tokens are read."""
        encoded = self._tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
        ids = [torch.tensor(tokens) for tokens in encoded["input_ids"]]
        lengths = torch.tensor([len(tokens) for tokens in ids])
        starts = _starts(lengths)
        width = self._embeddings.word_embeddings.embedding_dim
        tokens = torch.empty(int(starts[-1]), width, dtype=torch.float16)
        for batch in torch.split(torch.argsort(lengths, stable=True), _TEXTS_PER_BATCH):
            states, mask = self._below(pad_sequence([ids[row] for row in batch], batch_first=True))
            for row, of_text, own in zip(batch.tolist(), states, mask, strict=True):
                tokens[starts[row] : starts[row + 1]] = of_text[own].half()
        return LowerStates(tokens, starts)

    def _below(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        mask = ids != self._tokenizer.pad_token_id
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            states = self._embeddings(input_ids=ids)
            for layer in self._lower:
                states = layer(states, mask[:, None, None, :])
        return states.float(), mask


def cosines(queries: Embeddings, documents: Embeddings, candidates: Rows) -> FloatArray:
    """Return the cosine of each query with its candidates.

    Args:
        queries: (q, width) float32, of length 1.
        documents: (m, width) float32, of length 1.
        candidates: (q, k) rows of documents.

    Returns:
        (q, k) float64.
    """
    cosine: FloatArray = np.einsum("qw,qkw->qk", queries, documents[candidates]).astype(np.float64)
    return cosine
