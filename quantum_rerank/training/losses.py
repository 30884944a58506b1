"""The losses of a training, each built from its configuration."""

from __future__ import annotations

from functools import partial

from quantum_rerank.training import loss_functions as functions
from quantum_rerank.training.config import LOSSES, LossConfig
from quantum_rerank.training.loss_functions import Loss


def make_loss(config: LossConfig) -> Loss:
    """Build the loss that a configuration names."""
    return LOSSES[config.name](config)


def triplet(config: LossConfig) -> Loss:
    """Return the hinge of a query's positive and one negative."""
    return Loss(partial(functions.pairwise_hinge, margin=config.margin), sampling="one")


def margin_ranking(config: LossConfig) -> Loss:
    """Return the hinge of a query's positive and several negatives."""
    return Loss(partial(functions.pairwise_hinge, margin=config.margin), sampling="sampled")


def contrastive(config: LossConfig) -> Loss:
    """Return the contrastive loss of a query's positive and several negatives."""
    return Loss(partial(functions.contrastive, margin=config.margin), sampling="sampled")


def infonce(config: LossConfig) -> Loss:
    """Return InfoNCE over the documents of a batch."""
    return Loss(_entropy(config), sampling="in_batch")


def infonce_candidates(config: LossConfig) -> Loss:
    """Return InfoNCE over all candidates of a batch."""
    return Loss(_entropy(config), sampling="all_candidates")


def listnet(config: LossConfig) -> Loss:
    """Return ListNet over all candidates of a batch."""
    function = partial(
        functions.listnet,
        temperature=config.temperature,
        grade_temperature=config.grade_temperature,
    )
    return Loss(function, sampling="all_candidates")


def approx_ndcg(config: LossConfig) -> Loss:
    """Return ApproxNDCG over all candidates of a batch."""
    function = partial(functions.approx_ndcg, temperature=config.temperature)
    return Loss(function, sampling="all_candidates")


def _entropy(config: LossConfig) -> functions.LossFunction:
    return partial(
        functions.infonce,
        temperature=config.temperature,
        label_smoothing=config.label_smoothing,
    )
