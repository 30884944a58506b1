"""What a training leaves in its folder: metrics.json, the bundle, every arm's best epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.evaluation import NDCG
from quantum_rerank.whole_files import write_json

if TYPE_CHECKING:
    from quantum_rerank.embeddings import EmbeddingSource
    from quantum_rerank.training.arms import MeasuredArm
    from quantum_rerank.training.data_manager import PreparedData
    from quantum_rerank.training.validators import Course, Standing, Verdict

METRICS_FILE, BUNDLE, CHECKPOINTS = "metrics.json", "bundle", "checkpoints"


@dataclass(frozen=True)
class TimedArm:
    """An arm with its standing, and the seconds that it took."""

    measured: MeasuredArm
    seconds: float


@dataclass(frozen=True)
class Judged:
    """How the arm that was asked for stands to every target."""

    course: Course
    standings: Mapping[str, Standing]
    verdicts: Sequence[Verdict]

    def record(self) -> dict[str, Any]:
        """Its part of metrics.json."""
        from quantum_rerank.training.validators import as_record

        return {
            "verdicts": as_record(self.verdicts),
            "standings": {role: asdict(one) for role, one in self.standings.items()},
            "peak_memory_gb": self.course.peak_memory_gb,
        }


def judge(arm: TimedArm, prepared: PreparedData) -> Judged:
    """Hold a trained arm against the targets; one training says nothing of other seeds."""
    from quantum_rerank.training.standings import query_roles, standings
    from quantum_rerank.training.validators import Course, verdicts

    trained = arm.measured.trained
    assert trained is not None
    training = trained.config.training
    course = Course(
        trained.best_epoch,
        tuple(epoch["objective"] for epoch in trained.history),
        arm.seconds,
        _peak_memory_gb(),
        training.early_stopping_patience,
        training.min_improvement,
    )
    weight = trained.validation.fusion_weight
    found = standings(trained.head, weight, query_roles(prepared))
    return Judged(course, found, verdicts(found, course))


def _peak_memory_gb() -> float:
    """The most that this process ever held, in units of 10**9 bytes."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def write_record(
    folder: Path,
    own: str,
    arms: Mapping[str, TimedArm],
    left_out: Mapping[str, str],
    judged: Judged,
    prepared: PreparedData,
    wall_seconds: float,
) -> None:
    """Write metrics.json: of every arm its scores, each query's, and each epoch.

    The last that is written: with it the run is finished.

    left_out: arms that could not be trained, and why.
    """
    measured = {arm: one.measured for arm, one in arms.items()}
    trained = {arm: one.trained for arm, one in measured.items() if one.trained}
    record = {
        **_means(measured, prepared),
        "validation": {arm: one.validation.metrics for arm, one in measured.items()},
        "objective": {arm: one.validation.objective for arm, one in measured.items()},
        "fusion_weight": {arm: one.validation.fusion_weight for arm, one in measured.items()},
        "n_trained": {arm: one.n_trained for arm, one in measured.items()},
        "epochs": {arm: one.epochs for arm, one in measured.items()},
        "best_epoch": {arm: one.best_epoch for arm, one in trained.items()},
        "history": {arm: list(one.history) for arm, one in trained.items()},
        "per_query": {
            role: {arm: {NDCG: one.test[role].per_query[NDCG]} for arm, one in measured.items()}
            for role in prepared.tests
        },
        "left_out": dict(left_out),
        **judged.record(),
        "config": trained[own].config.model_dump(mode="json"),
        "splits": prepared.splits,
        "skipped": prepared.skipped,
        "data_fingerprint": prepared.fingerprint,
        "seconds": {arm: round(one.seconds, 3) for arm, one in arms.items()},
        "wall_seconds": round(wall_seconds, 1),
    }
    write_json(folder / METRICS_FILE, record)


def export_arms(
    folder: Path,
    own: str,
    measured: Mapping[str, MeasuredArm],
    course: Course,
    prepared: PreparedData,
    source: EmbeddingSource,
) -> None:
    """Write the arm that was asked for as a bundle, and every arm's best epoch beside it."""
    from quantum_rerank.export import export_model
    from quantum_rerank.training.checkpoint import checkpoint_bytes
    from quantum_rerank.training.trainer import BestModel

    trained = {arm: one.trained for arm, one in measured.items() if one.trained}
    chosen = trained[own]
    export_model(
        folder / BUNDLE,
        chosen.head,
        chosen.config,
        chosen.validation.fusion_weight,
        source.fingerprint,
        prepared.fingerprint,
        {"validation": chosen.validation.metrics}
        | {role: arms[own] for role, arms in _means(measured, prepared).items()},
        prepared.examples,
        asdict(course),
    )
    (folder / CHECKPOINTS).mkdir()
    for arm, one in trained.items():
        best = BestModel(one.best_epoch, one.head.state_dict(), one.validation)
        maker = made_by(arm, prepared.fingerprint)
        content = checkpoint_bytes(best, one.config, prepared.trial.embedding_dim, maker)
        (folder / CHECKPOINTS / f"{arm}.safetensors").write_bytes(content)


def made_by(arm: str, data_fingerprint: str) -> dict[str, str]:
    """Return what the checkpoint of an arm says of its training."""
    return {"arm": arm, "data_fingerprint": data_fingerprint}


def _means(
    measured: Mapping[str, MeasuredArm], prepared: PreparedData
) -> dict[str, dict[str, dict[str, float]]]:
    """Role -> arm -> metric -> its mean."""
    return {
        role: {arm: dict(one.test[role].metrics) for arm, one in measured.items()}
        for role in prepared.tests
    }
