"""Export of a trial as a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.evaluation import COSINE
from quantum_rerank.export import export_model
from quantum_rerank.training.data_manager import PreparedData, TrialData
from quantum_rerank.training.models import untrained_head
from quantum_rerank.training.ranking import Validator
from quantum_rerank.training.targets import Seeds
from tuning.conclusion.trained_trial import TrainedTrial


def cosine_objective(config: ExperimentConfig, data: TrialData) -> float:
    """The validation objective of the cosine, which has nothing to train."""
    validate = Validator(data.seen, data.unseen, config.training.objective)
    return validate(untrained_head(config, COSINE, data)).objective


def export_trial(
    output: Path,
    trial: TrainedTrial,
    prepared: PreparedData,
    source: EmbeddingSource,
    test: Mapping[str, Mapping[str, float]],
    seeds: Seeds | None = None,
) -> Path:
    """Write a trial's bundle, with its validation metrics and what it scored on test.

    seeds: what its configuration came to on fresh seeds, if that is known.
    """
    return export_model(
        output,
        trial.head,
        trial.config,
        trial.validation.fusion_weight,
        source.fingerprint,
        prepared.fingerprint,
        {"validation": trial.validation.metrics, **test},
        prepared.examples,
        {**asdict(trial.course), "seeds": asdict(seeds or Seeds())},
    )
