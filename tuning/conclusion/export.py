"""Export of a trial as a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.evaluation import COSINE
from quantum_rerank.evaluation.measurements import SeedGains
from quantum_rerank.export import ExportedModel, export_model
from quantum_rerank.training.models import untrained_head
from quantum_rerank.training.trial_data import PreparedData, TrialData
from quantum_rerank.training.validation import Validator
from tuning.conclusion.trained_trial import TrainedTrial


@dataclass(frozen=True)
class TrialEvidence:
    """Results of a trial beyond its own validation, for the model card of its bundle.

    Attributes:
        test: Role of test queries -> metric -> value; empty where the trial was not tested.
        seeds: Objectives on fresh seeds; None where the trial was not confirmed.
    """

    test: Mapping[str, Mapping[str, float]]
    seeds: SeedGains | None = None


def cosine_objective(config: ExperimentConfig, data: TrialData) -> float:
    """Return the validation objective of the cosine, which has nothing to train."""
    validate = Validator(
        data.validation_in_domain, data.validation_out_of_domain, config.training.objective
    )
    return validate(untrained_head(config, COSINE, data)).objective


def export_trial(
    output: Path,
    trial: TrainedTrial,
    prepared: PreparedData,
    source: EmbeddingSource,
    evidence: TrialEvidence,
) -> Path:
    """Write the bundle of a trial.

    Args:
        output: New folder of the bundle.
        trial: Trial to export.
        prepared: Data of the search.
        source: Encoder of the search.
        evidence: Results on test queries and on fresh seeds.

    Returns:
        The folder of the bundle.
    """
    seeds = evidence.seeds or SeedGains()
    model = ExportedModel(
        head=trial.head,
        config=trial.config,
        fusion_weight=trial.validation.fusion_weight,
        encoder_fingerprint=source.fingerprint,
        data_fingerprint=prepared.fingerprint,
        metrics={"validation": trial.validation.metrics, **evidence.test},
        examples=prepared.examples,
        lexicon=prepared.lexicon,
        training={**asdict(trial.training_summary), "seeds": asdict(seeds)},
    )
    return export_model(output, model)
