"""Train one hybrid reranker and hold it against cosine, its MLP twin and the circuit alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.console import new_folder, run

if TYPE_CHECKING:
    from rich.console import Console

    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.training.arms import TrainedArm
    from quantum_rerank.training.data_manager import TrialData
    from quantum_rerank.training.trainer import EpochReport

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
    from quantum_rerank.evaluation import difference_table, leaderboard
    from quantum_rerank.export import export_model
    from quantum_rerank.training.data_manager import prepare
    from quantum_rerank.training.ranking import score_on

    overrides = dict(parse_override(text) for text in set_ or [])
    if data:
        overrides |= {"data.seen": data, "data.unseen_validation": [], "data.unseen_test": []}
    experiment = load_config(config, overrides)
    folder = new_folder(output)
    console = Console()
    started = time.monotonic()
    source = embedding_source(experiment.data.encoder)
    prepared = prepare(experiment.data, source)
    for row in prepared.statistics():
        console.print(", ".join(f"{key} {value}" for key, value in row.items()))
    for domain, reasons in prepared.skipped.items():
        for reason, count in reasons.items():
            console.print(f"{domain}: left out {count} {reason}")

    arms: list[str] = list(dict.fromkeys(["cosine", "quantum_only", "mlp_twin", experiment.arm]))
    trained = {arm: _train(experiment, arm, prepared.trial, console) for arm in arms}
    report: dict[str, dict[str, dict[str, float]]] = {}
    for role, queries in (("test", prepared.test_seen), ("test_unseen", prepared.test_unseen)):
        if not queries:
            continue
        scores = {
            arm: score_on(result.head, result.validation.fusion_weight, queries)
            for arm, result in trained.items()
        }
        report[role] = {arm: dict(one.metrics) for arm, one in scores.items()}
        console.print(leaderboard(f"{role} queries, scored once", scores))
        mine = scores.pop(experiment.arm)
        console.print(difference_table(experiment.arm, mine, scores))
    chosen = trained[experiment.arm]
    bundle = export_model(
        folder / "bundle",
        chosen.head,
        chosen.config,
        chosen.validation.fusion_weight,
        source.fingerprint,
        prepared.fingerprint,
        {"validation": chosen.validation.metrics}
        | {role: arms[experiment.arm] for role, arms in report.items()},
        prepared.examples,
    )
    record = {
        **report,
        "validation": {arm: result.validation.metrics for arm, result in trained.items()},
        "fusion_weight": {arm: result.validation.fusion_weight for arm, result in trained.items()},
        "epochs": {arm: result.epochs for arm, result in trained.items()},
        "config": experiment.model_dump(mode="json"),
        "splits": prepared.splits,
        "data_fingerprint": prepared.fingerprint,
        "wall_seconds": round(time.monotonic() - started, 1),
    }
    (folder / "metrics.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    console.print(f"Wrote {folder / 'metrics.json'} and {bundle}.")


def _train(config: ExperimentConfig, arm: str, data: TrialData, console: Console) -> TrainedArm:
    """Train an arm behind a progress bar that counts epochs."""
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
            text = f"{arm}: validation NDCG@10 {report.metrics['objective']:.4f}"
            end = report.epoch if report.final else total
            progress.update(task, completed=report.epoch, description=text, total=end)

        return train_arm(config, arm, data, watch)


if __name__ == "__main__":
    run(app)
