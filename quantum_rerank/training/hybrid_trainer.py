"""From a configuration and data to a trainer: the one border below which arguments are plain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.similarity import FusedSimilarity, build_head
from quantum_rerank.training.batches import CorpusBatches, TrainingBatches
from quantum_rerank.training.checkpoint import checkpoint_bytes, take_over
from quantum_rerank.training.gating import place_gate
from quantum_rerank.training.loss_functions import make_loss
from quantum_rerank.training.negatives import Negatives
from quantum_rerank.training.optimizers import make_optimizer, make_schedule
from quantum_rerank.training.trainer import EarlyStopping, Trainer, WarmUp
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.validation import Validator
from quantum_rerank.training.weight_average import WeightAverage


def make_descendant(
    config: ExperimentConfig, before: Sequence[tuple[ExperimentConfig, int]], data: TrialData
) -> Trainer:
    """Assemble a training that goes on from the weights that others have trained.

    before: configurations with the last epoch of each, the earliest first; they are trained
        here, one after another, each from the weights of the one before it and to its last
        epoch, where it would have stopped early too. The next epoch of the training returned
        is the one after theirs. Empty: as `make_trainer`.
    """
    weights = b""
    for ancestor, last in before:
        # With its own seed it came that far; with another it might stop before.
        patience = max(ancestor.training.early_stopping_patience, last)
        patient = override(ancestor, {"training.early_stopping_patience": patience})
        trainer = make_trainer(patient, data)
        if weights:
            take_over(trainer, weights)
        for report in trainer.epochs():
            if report.epoch == last:
                break
        weights = checkpoint_bytes(trainer, {})
    trainer = make_trainer(config, data)
    if weights:
        take_over(trainer, weights)
    return trainer


def make_trainer(config: ExperimentConfig, data: TrialData) -> Trainer:
    """Assemble a training.

    Seeds torch's global generator, which initial weights and dropout draw from;
    the order of batches has its own.
    """
    torch.manual_seed(config.seed)
    batch_rng, corpus_rng, gate_rng = np.random.default_rng(config.seed).spawn(3)
    head = build_head(embedding_dim=data.embedding_dim, **config.head_arguments())
    if head.gate:
        place_gate(head.gate, [queries.queries for queries in data.train], gate_rng)
    model = FusedSimilarity(head, config.fusion.initial_weight)
    loss = make_loss(**config.loss.model_dump(exclude={"score", "negatives"}))
    on_fidelity = config.loss.score == "fidelity"
    mining = config.negatives
    negatives = Negatives(
        data.train,
        mining.kind,
        mining.pool,
        mining.refresh_epochs,
        mining.false_negative_margin,
        on_fidelity,
    )
    batches = TrainingBatches(
        data.train,
        loss.sampling,
        negatives,
        config.training.batch_size,
        config.loss.negatives,
        config.training.max_batch_documents,
        config.training.balance,
        config.training.embedding_noise,
        config.training.difficulty,
        batch_rng,
    )
    optimizing = config.optimizer
    optimizer = make_optimizer(
        model,
        optimizing.name,
        optimizing.mlp_lr,
        optimizing.circuit_lr,
        optimizing.weight_decay,
        optimizing.circuit_weight_decay,
        optimizing.momentum,
    )
    schedule = make_schedule(
        optimizer,
        optimizing.schedule,
        optimizing.circuit_schedule,
        len(batches),
        config.training.max_epochs,
        optimizing.linear_warmup_epochs,
        optimizing.step_epochs,
        optimizing.step_factor,
        optimizing.plateau_epochs,
        optimizing.plateau_factor,
    )
    warm_up = WarmUp(
        CorpusBatches(data.corpora, config.warmup.batch_size, corpus_rng),
        config.warmup.steps,
        config.warmup.learning_rate,
        config.warmup.temperature,
        config.warmup.weight,
    )
    return Trainer(
        model,
        loss,
        on_fidelity,
        batches,
        warm_up,
        optimizer,
        schedule,
        optimizing.gradient_clipping,
        WeightAverage(config.training.ema_decay),
        Validator(
            data.validation_in_domain, data.validation_out_of_domain, config.training.objective
        ),
        EarlyStopping(config.training.early_stopping_patience, config.training.min_improvement),
        config.training.max_epochs,
    )
