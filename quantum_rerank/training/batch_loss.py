"""The loss of a training step: the ranking loss, and the terms that need no judgments."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from quantum_rerank.similarity import FusedSimilarity
from quantum_rerank.training.batches import Batch
from quantum_rerank.training.config import LossConfig, WarmupConfig
from quantum_rerank.training.loss_functions import (
    neighbour_divergence,
    simcse_loss,
    spread_shortfall,
)
from quantum_rerank.training.losses import make_loss

_REGULARISED_TEXTS = 128  # documents of a batch that the terms without judgments are computed on


class StepLoss(NamedTuple):
    """The loss of a batch, and the scores that it was computed on.

    Attributes:
        value: A scalar with a gradient.
        scores: (q, d).
    """

    value: Tensor
    scores: Tensor


class BatchLoss:
    """The loss of batches and of bare texts, by a model's affinities.

    Args:
        model: The model that is trained.
        config: The ranking loss and the weights of the further terms.
        warm_up: The label-free loss, and its weight as a further term.
    """

    def __init__(self, model: FusedSimilarity, config: LossConfig, warm_up: WarmupConfig) -> None:
        self._model = model
        self._config = config
        self._warm_up = warm_up
        self._loss = make_loss(config)

    def of_batch(self, batch: Batch) -> StepLoss:
        """Return the ranking loss of a batch with all further terms."""
        compared = self._model(batch.queries, batch.documents)
        scores = compared.affinity
        if self._config.score == "fused":
            scores = self._model.fused(scores, batch.queries, batch.documents)
        loss = self._loss.compute(scores, batch.grades)
        terms = (self._warm_up.weight, self._config.spread_weight, self._config.simcse_weight)
        if any(terms):
            loss = self._with_terms(loss, batch, compared.documents)
        return StepLoss(loss, scores)

    def per_query(self, scores: Tensor, batch: Batch) -> Tensor:
        """Return the ranking loss of each query, (q,), without a gradient."""
        return self._loss.per_query(scores, batch.grades)

    def of_texts(self, texts: Tensor) -> Tensor:
        """Return the divergence of bare texts' affinities from their cosine neighbours."""
        states = self._model.head.represent(texts)
        return self._divergence(self._model.head.compare(states, states).float(), texts)

    def _with_terms(self, loss: Tensor, batch: Batch, represented: Tensor) -> Tensor:
        """Add the terms on a batch's documents that need no judgments."""
        # Drawn, since the documents of a batch stand in the order of their corpus.
        drawn = torch.randperm(len(batch.documents))[:_REGULARISED_TEXTS]
        texts, states, head = batch.documents[drawn], represented[drawn], self._model.head
        if self._warm_up.weight or self._config.spread_weight:
            affinity = head.compare(states, states).float()
            if weight := self._warm_up.weight:
                loss = loss + weight * self._divergence(affinity, texts)
            if weight := self._config.spread_weight:
                loss = loss + weight * spread_shortfall(affinity, self._config.spread_target)
        if weight := self._config.simcse_weight:
            # Represented once more, under the next dropout mask.
            affinity = head.compare(states, head.represent(texts)).float()
            loss = loss + weight * simcse_loss(affinity, self._config.simcse_temperature)
        return loss

    def _divergence(self, affinity: Tensor, texts: Tensor) -> Tensor:
        return neighbour_divergence(affinity, texts @ texts.T, self._warm_up.temperature)
