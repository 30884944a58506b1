"""Results of a training run: scores of every model, targets of the configured one."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.measurements import ModelAndCosine, TrainingSummary
from quantum_rerank.evaluation.role_scores import score_against_cosine
from quantum_rerank.evaluation.targets import TargetResult, evaluate_targets, target_records
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.models import MeasuredModel, TrainedModel
from quantum_rerank.training.trial_data import PreparedData

METRICS_FILE, BUNDLE, BEST_MODELS = "metrics.json", "bundle", "best_models"


@dataclass(frozen=True)
class TrainingResult:
    """Measured model with its training time in seconds."""

    measured: MeasuredModel
    seconds: float

    @property
    def trained(self) -> TrainedModel:
        """Best epoch of a model that has weights."""
        assert self.measured.trained is not None
        return self.measured.trained


@dataclass(frozen=True)
class TargetReport:
    """Targets of a trained model, with the measurements that they are computed from.

    Attributes:
        summary: Summary of the training.
        scores: Role of queries -> NDCG@10 of the model and of the cosine.
        results: Result of every target.
    """

    summary: TrainingSummary
    scores: Mapping[str, ModelAndCosine]
    results: Sequence[TargetResult]

    def record(self) -> dict[str, Any]:
        """Return the report's part of `metrics.json`."""
        return {
            "targets": target_records(self.results),
            "role_scores": {role: asdict(scores) for role, scores in self.scores.items()},
            "peak_memory_gb": self.summary.peak_memory_gb,
        }


@dataclass(frozen=True)
class RunResults:
    """Results of a training run.

    Attributes:
        model: Name of the configured model, which the bundle holds.
        models: Name -> result, in the order of training, the configured model last.
        skipped: Name of a model that could not be trained -> the reason.
        report: Targets of the configured model.
    """

    model: str
    models: Mapping[str, TrainingResult]
    skipped: Mapping[str, str]
    report: TargetReport

    @property
    def measured(self) -> dict[str, MeasuredModel]:
        """Name -> measured model."""
        return {name: result.measured for name, result in self.models.items()}

    @property
    def trained(self) -> dict[str, TrainedModel]:
        """Name -> best epoch, of the models that have weights."""
        return {name: model.trained for name, model in self.measured.items() if model.trained}


def report_targets(result: TrainingResult, prepared: PreparedData) -> TargetReport:
    """Evaluate a trained model against the targets.

    One training gives no evidence of other seeds: stability stays unknown.

    Args:
        result: Result of a model that has weights.
        prepared: Data of the training, test queries included.
    """
    trained = result.trained
    training = trained.config.training
    summary = TrainingSummary(
        best_epoch=trained.best_epoch,
        objectives=tuple(epoch["objective"] for epoch in trained.history),
        seconds=result.seconds,
        peak_memory_gb=_peak_memory_gb(),
        patience=training.early_stopping_patience,
        min_improvement=training.min_improvement,
        is_closed_form=not MODELS[trained.config.model].is_trainable,
    )
    scores = score_against_cosine(trained.head, trained.validation.fusion_weight, prepared.roles)
    return TargetReport(summary, scores, evaluate_targets(scores, summary))


def _peak_memory_gb() -> float:
    """Return the largest resident memory of this process in units of 10**9 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def metrics_record(
    results: RunResults, prepared: PreparedData, wall_seconds: float
) -> dict[str, Any]:
    """Return the content of `metrics.json`: every model's means, epochs and scores by query.

    Args:
        results: Results of the run.
        prepared: Data of the run.
        wall_seconds: Duration of the run in this process.
    """
    measured, trained = results.measured, results.trained
    return {
        **means_by_role(results, prepared),
        "validation": {name: model.validation.metrics for name, model in measured.items()},
        "objective": {name: model.validation.objective for name, model in measured.items()},
        "fusion_weight": {name: model.validation.fusion_weight for name, model in measured.items()},
        "n_trained": {name: model.n_trained for name, model in measured.items()},
        "epochs": {name: model.epochs for name, model in measured.items()},
        "best_epoch": {name: model.best_epoch for name, model in trained.items()},
        "history": {name: list(model.history) for name, model in trained.items()},
        "per_query": {
            role: {
                name: {NDCG: model.test[role].per_query[NDCG]} for name, model in measured.items()
            }
            for role in prepared.test_roles
        },
        "left_out": dict(results.skipped),
        **results.report.record(),
        "config": trained[results.model].config.model_dump(mode="json"),
        "splits": prepared.splits,
        "skipped": prepared.skipped,
        "data_fingerprint": prepared.fingerprint,
        "seconds": {name: round(result.seconds, 3) for name, result in results.models.items()},
        "wall_seconds": round(wall_seconds, 1),
    }


def means_by_role(
    results: RunResults, prepared: PreparedData
) -> dict[str, dict[str, dict[str, float]]]:
    """Return role -> model -> metric -> its mean over the test queries."""
    return {
        role: {name: dict(model.test[role].metrics) for name, model in results.measured.items()}
        for role in prepared.test_roles
    }


def model_origin(model: str, data_fingerprint: str) -> dict[str, str]:
    """Return the origin that a file in `best_models/` records."""
    return {"model": model, "data_fingerprint": data_fingerprint}
