"""Export of a trial as a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class TrialEvidence:
    """Results of a trial beyond its own validation, for the model card of its bundle.

    Attributes:
        test: Role of test queries -> metric -> value; empty where the trial was not tested.
        seeds: Objectives on fresh seeds; None where the trial was not confirmed.
    """

    test: Mapping[str, Mapping[str, float]]
    seeds: Seeds | None = None


def cosine_objective(config: ExperimentConfig, data: TrialData) -> float:
    """Return the validation objective of the cosine, which has nothing to train."""
    validate = Validator(data.seen, data.unseen, config.training.objective)
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
    return export_model(
        output,
        trial.head,
        trial.config,
        trial.validation.fusion_weight,
        source.fingerprint,
        prepared.fingerprint,
        {"validation": trial.validation.metrics, **evidence.test},
        prepared.examples,
        {**asdict(trial.course), "seeds": asdict(evidence.seeds or Seeds())},
    )
