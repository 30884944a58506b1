"""What a training leaves in its folder: metrics.json, the bundle, every model's best epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.atomic import output_errors, write_json
from quantum_rerank.evaluation import NDCG

if TYPE_CHECKING:
    from quantum_rerank.embeddings import EmbeddingSource
    from quantum_rerank.evaluation.measurements import ModelAndCosine, TrainingSummary
    from quantum_rerank.evaluation.targets import TargetResult
    from quantum_rerank.training.models import MeasuredModel
    from quantum_rerank.training.trial_data import PreparedData

METRICS_FILE, BUNDLE, CHECKPOINTS = "metrics.json", "bundle", "checkpoints"


@dataclass(frozen=True)
class TimedModel:
    """A model with its standing, and the seconds that it took."""

    measured: MeasuredModel
    seconds: float


@dataclass(frozen=True)
class Judged:
    """The targets of the chosen model, with the measurements behind them."""

    training_summary: TrainingSummary
    role_scores: Mapping[str, ModelAndCosine]
    targets: Sequence[TargetResult]

    def record(self) -> dict[str, Any]:
        """Its part of metrics.json."""
        from quantum_rerank.evaluation.targets import target_records

        return {
            "targets": target_records(self.targets),
            "role_scores": {role: asdict(scores) for role, scores in self.role_scores.items()},
            "peak_memory_gb": self.training_summary.peak_memory_gb,
        }


def judge(model: TimedModel, prepared: PreparedData) -> Judged:
    """Hold a trained model against the targets; one training says nothing of other seeds."""
    from quantum_rerank.evaluation.measurements import TrainingSummary
    from quantum_rerank.evaluation.role_scores import score_against_cosine
    from quantum_rerank.evaluation.targets import evaluate_targets

    trained = model.measured.trained
    assert trained is not None
    training = trained.config.training
    summary = TrainingSummary(
        best_epoch=trained.best_epoch,
        objectives=tuple(epoch["objective"] for epoch in trained.history),
        seconds=model.seconds,
        peak_memory_gb=_peak_memory_gb(),
        patience=training.early_stopping_patience,
        min_improvement=training.min_improvement,
    )
    weight = trained.validation.fusion_weight
    scores = score_against_cosine(trained.head, weight, prepared.roles)
    return Judged(summary, scores, evaluate_targets(scores, summary))


def _peak_memory_gb() -> float:
    """Return the largest resident memory of this process in GB (10**9 bytes)."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def write_record(
    folder: Path,
    own: str,
    models: Mapping[str, TimedModel],
    left_out: Mapping[str, str],
    judged: Judged,
    prepared: PreparedData,
    wall_seconds: float,
) -> None:
    """Write metrics.json: of every model its scores, each query's, and each epoch.

    The last that is written: with it the run is finished.

    left_out: models that could not be trained, and why.
    """
    measured = {model: one.measured for model, one in models.items()}
    trained = {model: one.trained for model, one in measured.items() if one.trained}
    record = {
        **_means(measured, prepared),
        "validation": {model: one.validation.metrics for model, one in measured.items()},
        "objective": {model: one.validation.objective for model, one in measured.items()},
        "fusion_weight": {model: one.validation.fusion_weight for model, one in measured.items()},
        "n_trained": {model: one.n_trained for model, one in measured.items()},
        "epochs": {model: one.epochs for model, one in measured.items()},
        "best_epoch": {model: one.best_epoch for model, one in trained.items()},
        "history": {model: list(one.history) for model, one in trained.items()},
        "per_query": {
            role: {model: {NDCG: one.test[role].per_query[NDCG]} for model, one in measured.items()}
            for role in prepared.test_roles
        },
        "left_out": dict(left_out),
        **judged.record(),
        "config": trained[own].config.model_dump(mode="json"),
        "splits": prepared.splits,
        "skipped": prepared.skipped,
        "data_fingerprint": prepared.fingerprint,
        "seconds": {model: round(one.seconds, 3) for model, one in models.items()},
        "wall_seconds": round(wall_seconds, 1),
    }
    with output_errors(folder / METRICS_FILE):
        write_json(folder / METRICS_FILE, record)


def export_models(
    folder: Path,
    own: str,
    measured: Mapping[str, MeasuredModel],
    training_summary: TrainingSummary,
    prepared: PreparedData,
    source: EmbeddingSource,
) -> None:
    """Write the model that was asked for as a bundle, and every model's best epoch beside it."""
    from quantum_rerank.export import ExportedModel, export_model
    from quantum_rerank.training.best_model import best_model_bytes
    from quantum_rerank.training.trainer import BestModel

    trained = {model: one.trained for model, one in measured.items() if one.trained}
    chosen = trained[own]
    test = {role: models[own] for role, models in _means(measured, prepared).items()}
    exported = ExportedModel(
        head=chosen.head,
        config=chosen.config,
        fusion_weight=chosen.validation.fusion_weight,
        encoder_fingerprint=source.fingerprint,
        data_fingerprint=prepared.fingerprint,
        metrics={"validation": chosen.validation.metrics, **test},
        examples=prepared.examples,
        training=asdict(training_summary),
    )
    export_model(folder / BUNDLE, exported)
    (folder / CHECKPOINTS).mkdir()
    for model, one in trained.items():
        best = BestModel(one.best_epoch, one.head.state_dict(), one.validation)
        maker = made_by(model, prepared.fingerprint)
        content = best_model_bytes(best, one.config, prepared.trial.embedding_dim, maker)
        (folder / CHECKPOINTS / f"{model}.safetensors").write_bytes(content)


def made_by(model: str, data_fingerprint: str) -> dict[str, str]:
    """Return what the checkpoint of a model says of its training."""
    return {"model": model, "data_fingerprint": data_fingerprint}


def _means(
    measured: Mapping[str, MeasuredModel], prepared: PreparedData
) -> dict[str, dict[str, dict[str, float]]]:
    """Role -> model -> metric -> its mean."""
    return {
        role: {model: dict(one.test[role].metrics) for model, one in measured.items()}
        for role in prepared.test_roles
    }
