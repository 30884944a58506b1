"""Assembly of a training from a configuration and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.similarity import FusedSimilarity, build_head
from quantum_rerank.training.batches import CorpusBatches, TrainingBatches
from quantum_rerank.training.checkpoint import checkpoint_bytes, take_over
from quantum_rerank.training.discriminant import start_from_discriminant
from quantum_rerank.training.gating import place_gate
from quantum_rerank.training.losses import make_loss
from quantum_rerank.training.negatives import Negatives
from quantum_rerank.training.trainer import EpochReport, Trainer
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.validation import Validator
from quantum_rerank.training.warm_up import WarmUpStore, initial_seed

Ancestors = Sequence[tuple[ExperimentConfig, int]]
"""Configurations that trained the same weights one after another, each with its last epoch."""


def make_descendant(
    config: ExperimentConfig,
    ancestors: Ancestors,
    data: TrialData,
    watch: Callable[[EpochReport], None] = lambda _: None,
    warm_ups: WarmUpStore | None = None,
) -> Trainer:
    """Assemble a training that continues from the weights of its ancestors.

    The ancestors are trained here one after another, each from the weights of its predecessor
    and to its last epoch, even past an early stop.

    Args:
        config: The configuration of the training.
        ancestors: The earliest first; without ancestors this is `make_trainer`.
        data: The data of all of them.
        watch: Called with the report of every epoch of an ancestor.
        warm_ups: Warm-ups that are shared with other trainings on the same data.

    Returns:
        A trainer whose next epoch is the one after the ancestors' last.
    """
    weights = b""
    for ancestor, last in ancestors:
        # With its own seed it came that far; with another it might stop earlier.
        patience = max(ancestor.training.early_stopping_patience, last)
        patient = override(ancestor, {"training.early_stopping_patience": patience})
        trainer = make_trainer(patient, data, warm_ups)
        if weights:
            take_over(trainer, weights)
        for report in trainer.epochs():
            watch(report)
            if report.epoch == last:
                break
        weights = checkpoint_bytes(trainer, {})
    trainer = make_trainer(config, data, warm_ups)
    if weights:
        take_over(trainer, weights)
    return trainer


def make_trainer(
    config: ExperimentConfig, data: TrialData, warm_ups: WarmUpStore | None = None
) -> Trainer:
    """Assemble a training.

    Seeds torch's global generator, which initial weights and dropout draw from;
    the order of batches has a generator of its own.

    Args:
        config: The configuration of the training.
        data: Training and validation queries, and the corpora of the warm-up.
        warm_ups: Warm-ups that this training shares with others on the same data.
    """
    torch.manual_seed(initial_seed(config))
    batch_rng, _, _ = np.random.default_rng(config.seed).spawn(3)
    _, corpus_rng, gate_rng = np.random.default_rng(initial_seed(config)).spawn(3)
    batches = TrainingBatches(
        data.train,
        Negatives(data.train, config.negatives, config.loss),
        sampling=make_loss(config.loss).sampling,
        config=config.training,
        rng=batch_rng,
    )
    return Trainer(
        _make_model(config, data, gate_rng),
        batches=batches,
        corpora=CorpusBatches(data.corpora, config.warmup.batch_size, corpus_rng),
        validator=Validator(
            data.validation_in_domain,
            data.validation_out_of_domain,
            config.training.objective,
            trained_on=data.train,
        ),
        config=config,
        warm_ups=warm_ups,
    )


def _make_model(
    config: ExperimentConfig, data: TrialData, gate_rng: np.random.Generator
) -> FusedSimilarity:
    """Build the model; its discriminant and its gate are those of the training queries."""
    head = build_head(config.resolved(), data.embedding_dim)
    start_from_discriminant(head, data.train, config.discriminant)
    if head.gate:
        place_gate(head.gate, [queries.queries for queries in data.train], gate_rng)
    return FusedSimilarity(head, config.fusion.initial_weight)
