"""Train one hybrid reranker and hold it against cosine, its MLP twin and the circuit alone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantum_rerank.console import new_folder, run
from quantum_rerank.evaluation import NDCG, Scores, difference_table, leaderboard

if TYPE_CHECKING:
    from rich.console import Console

    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.embeddings import EmbeddingSource
    from quantum_rerank.training.arms import TrainedArm
    from quantum_rerank.training.data_manager import PreparedData, TrialData
    from quantum_rerank.training.trainer import EpochReport
    from quantum_rerank.training.validators import Course, Standing, Verdict

METRICS_FILE, BUNDLE, CHECKPOINTS = "metrics.json", "bundle", "checkpoints"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def main(
    output: Annotated[Path, typer.Option(help="New folder for metrics.json and the bundle.")],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with the numbers of the run; the task's if not given."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="A collection to train and test on: `icd10:CHAPTER` or `beir:FOLDER`. "
            "Repeatable. Replaces every collection of the configuration."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one value, as in `--set training.max_epochs=20`."),
    ] = None,
) -> None:
    """Train one hybrid reranker, and beside it the arms that an honest claim needs.

    The best epoch is chosen on validation queries, the test queries are scored
    once. Example:

        python -m quantum_rerank.cli.train_hybrid_model
            --config configs/training_config.yaml --data icd10:5 --output runs/first
    """
    from rich.console import Console

    from quantum_rerank.config import load_config, parse_override
    from quantum_rerank.embeddings import embedding_source
    from quantum_rerank.training.data_manager import prepare
    from quantum_rerank.training.verdict_table import verdict_table

    overrides = dict(parse_override(text) for text in set_ or [])
    if data:
        overrides |= {"data.seen": data, "data.unseen_validation": [], "data.unseen_test": []}
    experiment = load_config(config, overrides)
    folder = new_folder(output)
    console = Console()
    started = time.monotonic()
    source = embedding_source(experiment.data.encoder)
    prepared = prepare(experiment.data, source)
    console.print(*prepared.description(), sep="\n")
    arms: dict[str, None] = dict.fromkeys(["cosine", "quantum_only", "mlp_twin", experiment.arm])
    timed = {arm: _train(experiment, arm, prepared.trial, console) for arm in arms}
    trained = {arm: one for arm, (one, _) in timed.items()}
    scores = _score(trained, prepared)
    judged = _judge(*timed[experiment.arm], prepared)
    _export(folder, trained, experiment.arm, scores, judged.course, prepared, source)
    record = {
        **_record(trained, experiment.arm, scores, prepared),
        **judged.record(),
        "seconds": {arm: round(seconds, 3) for arm, (_, seconds) in timed.items()},
        "wall_seconds": round(time.monotonic() - started, 1),
    }
    text = json.dumps(record, indent=2) + "\n"
    (folder / METRICS_FILE).write_text(text, encoding="utf-8")
    for role, systems in scores.items():
        console.print(leaderboard(f"{role} queries, scored once", systems))
        others = {arm: one for arm, one in systems.items() if arm != experiment.arm}
        console.print(difference_table(experiment.arm, systems[experiment.arm], others))
    console.print(verdict_table(f"Targets of {experiment.arm}", judged.verdicts))
    console.print(f"Wrote {folder / METRICS_FILE} and {folder / BUNDLE}.", soft_wrap=True)


def _score(
    trained: Mapping[str, TrainedArm], prepared: PreparedData
) -> dict[str, dict[str, Scores]]:
    """Role -> arm -> scores on the test queries, of unseen domains too where there are any."""
    from quantum_rerank.training.ranking import score_on

    return {
        role: {
            arm: score_on(one.head, one.validation.fusion_weight, queries)
            for arm, one in trained.items()
        }
        for role, queries in prepared.tests.items()
    }


@dataclass(frozen=True)
class _Judged:
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


def _judge(trained: TrainedArm, seconds: float, prepared: PreparedData) -> _Judged:
    """Hold an arm against the targets; one training says nothing of other seeds."""
    from quantum_rerank.training.standings import query_roles, standings
    from quantum_rerank.training.validators import Course, verdicts

    training = trained.config.training
    course = Course(
        trained.best_epoch,
        tuple(epoch["objective"] for epoch in trained.history),
        seconds,
        _peak_memory_gb(),
        training.early_stopping_patience,
        training.min_improvement,
    )
    weight = trained.validation.fusion_weight
    found = standings(trained.head, weight, query_roles(prepared))
    return _Judged(course, found, verdicts(found, course))


def _peak_memory_gb() -> float:
    """The most that this process ever held, in units of 10**9 bytes."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _record(
    trained: Mapping[str, TrainedArm],
    arm: str,
    scores: Mapping[str, Mapping[str, Scores]],
    prepared: PreparedData,
) -> dict[str, Any]:
    """What metrics.json says of every arm: scores, each query's, and each epoch."""
    return {
        **_means(scores),
        "validation": {name: one.validation.metrics for name, one in trained.items()},
        "fusion_weight": {name: one.validation.fusion_weight for name, one in trained.items()},
        "epochs": {name: one.epochs for name, one in trained.items()},
        "best_epoch": {name: one.best_epoch for name, one in trained.items()},
        "history": {name: list(one.history) for name, one in trained.items()},
        "per_query": {
            role: {name: {NDCG: dict(one.per_query[NDCG])} for name, one in systems.items()}
            for role, systems in scores.items()
        },
        "config": trained[arm].config.model_dump(mode="json"),
        "splits": prepared.splits,
        "data_fingerprint": prepared.fingerprint,
    }


def _means(scores: Mapping[str, Mapping[str, Scores]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        role: {arm: dict(one.metrics) for arm, one in systems.items()}
        for role, systems in scores.items()
    }


def _export(
    folder: Path,
    trained: Mapping[str, TrainedArm],
    arm: str,
    scores: Mapping[str, Mapping[str, Scores]],
    course: Course,
    prepared: PreparedData,
    source: EmbeddingSource,
) -> None:
    """Write the arm that was asked for as a bundle, and every arm's best epoch beside it."""
    from quantum_rerank.export import export_model
    from quantum_rerank.training.checkpoint import checkpoint_bytes
    from quantum_rerank.training.trainer import BestModel

    chosen = trained[arm]
    export_model(
        folder / BUNDLE,
        chosen.head,
        chosen.config,
        chosen.validation.fusion_weight,
        source.fingerprint,
        prepared.fingerprint,
        {"validation": chosen.validation.metrics}
        | {role: systems[arm] for role, systems in _means(scores).items()},
        prepared.examples,
        asdict(course),
    )
    (folder / CHECKPOINTS).mkdir()
    for name, one in trained.items():
        best = BestModel(one.best_epoch, one.head.state_dict(), one.validation)
        content = checkpoint_bytes(best, one.config, prepared.trial.embedding_dim)
        (folder / CHECKPOINTS / f"{name}.safetensors").write_bytes(content)


def _train(
    config: ExperimentConfig, arm: str, data: TrialData, console: Console
) -> tuple[TrainedArm, float]:
    """Train an arm behind a progress bar that counts epochs; it, and the seconds it took."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from quantum_rerank.training.arms import train_arm

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        total = 1 if arm == "cosine" else config.training.max_epochs
        task = progress.add_task(arm, total=total)

        def watch(report: EpochReport) -> None:
            text = f"{arm}: validation objective {report.metrics['objective']:.4f}"
            end = report.epoch if report.final else total
            progress.update(task, completed=report.epoch, description=text, total=end)

        started = time.monotonic()
        return train_arm(config, arm, data, watch), time.monotonic() - started


if __name__ == "__main__":
    run(app)
