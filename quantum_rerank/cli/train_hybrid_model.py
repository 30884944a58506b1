"""Train one reranker and hold it against other arms: the same data, seed and budget for each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.console import new_folder, run
from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.evaluation import COSINE, difference_table, leaderboard

if TYPE_CHECKING:
    from rich.console import Console

    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.embeddings import EmbeddingSource
    from quantum_rerank.training.arms import MeasuredArm
    from quantum_rerank.training.data_manager import PreparedData
    from quantum_rerank.training.lexical import Bm25
    from quantum_rerank.training.trainer import EpochReport

METRICS_FILE, BUNDLE = "metrics.json", "bundle"

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
            help="A collection to train and test on: `icd10:CHAPTER`, `beir:FOLDER`, "
            "`trec:FOLDER`, `csv:FILE`, `ir_datasets:ID`, `zaragoza:all`, `gpe:TOPIC`. "
            "Repeatable. Replaces every collection of the configuration."
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            "--arms",
            help="An arm to train beside cosine and the configured one, as `--arm rbf --arm bm25`, "
            "or `all`. Without it: quantum_only and mlp_twin.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one value, as in `--set training.max_epochs=20`."),
    ] = None,
) -> None:
    """Train one hybrid reranker, and beside it the arms that an honest claim needs.

    Every arm has the same data, seed and epochs; its best epoch is chosen on
    validation queries, the test queries are scored once. Example:

        python -m quantum_rerank.cli.train_hybrid_model
            --config configs/training_config.yaml --data icd10:5 --output runs/first
    """
    from rich.console import Console

    from quantum_rerank.config import load_config, parse_override
    from quantum_rerank.embeddings import embedding_source
    from quantum_rerank.training.arms import arms_named
    from quantum_rerank.training.data_manager import prepare
    from quantum_rerank.training.lexical import Bm25

    others = arms_named(arm or ["quantum_only", "mlp_twin"])
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
    bm25 = Bm25(experiment.data)
    own = experiment.arm
    arms = [name for name in dict.fromkeys([COSINE, *others]) if name != own] + [own]
    left_out: dict[str, str] = {}
    measured: dict[str, MeasuredArm] = {}
    for name in arms:
        try:
            measured[name] = _measure(experiment, name, prepared, bm25, console)
        except (DivergedError, SaturatedError) as error:
            if name == own:
                raise
            left_out[name] = str(error)
            console.print(f"{name} is left out: {error}")
    _write(folder, own, measured, left_out, prepared, source, time.monotonic() - started)
    n_trained = {name: one.n_trained for name, one in measured.items()}
    for role in prepared.tests:
        systems = {name: one.test[role] for name, one in measured.items()}
        console.print(leaderboard(f"{role} queries, scored once", systems))
        compared = {name: one for name, one in systems.items() if name != own}
        console.print(difference_table(own, systems[own], compared, n_trained))
    console.print(f"Wrote {folder / METRICS_FILE} and {folder / BUNDLE}.", soft_wrap=True)


def _write(
    folder: Path,
    own: str,
    measured: Mapping[str, MeasuredArm],
    left_out: Mapping[str, str],
    prepared: PreparedData,
    source: EmbeddingSource,
    seconds: float,
) -> None:
    """Write metrics.json, and the arm that the configuration names as a bundle."""
    from quantum_rerank.export import export_model

    report = {
        role: {arm: dict(one.test[role].metrics) for arm, one in measured.items()}
        for role in prepared.tests
    }
    chosen = measured[own].trained
    assert chosen is not None
    export_model(
        folder / BUNDLE,
        chosen.head,
        chosen.config,
        chosen.validation.fusion_weight,
        source.fingerprint,
        prepared.fingerprint,
        {"validation": chosen.validation.metrics}
        | {role: systems[own] for role, systems in report.items()},
        prepared.examples,
    )
    record = {
        **report,
        "validation": {name: one.validation.metrics for name, one in measured.items()},
        "fusion_weight": {name: one.validation.fusion_weight for name, one in measured.items()},
        "epochs": {name: one.epochs for name, one in measured.items()},
        "n_trained": {name: one.n_trained for name, one in measured.items()},
        "left_out": left_out,
        "config": chosen.config.model_dump(mode="json"),
        "splits": prepared.splits,
        "data_fingerprint": prepared.fingerprint,
        "wall_seconds": round(seconds, 1),
    }
    text = json.dumps(record, indent=2) + "\n"
    (folder / METRICS_FILE).write_text(text, encoding="utf-8")


def _measure(
    config: ExperimentConfig, arm: str, prepared: PreparedData, bm25: Bm25, console: Console
) -> MeasuredArm:
    """Train and score an arm behind a progress bar that counts epochs."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from quantum_rerank.training.arms import LEXICAL_ARMS, measure_arm

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        total = 1 if arm in (COSINE, *LEXICAL_ARMS) else config.training.max_epochs
        task = progress.add_task(arm, total=total)

        def watch(report: EpochReport) -> None:
            text = f"{arm}: validation objective {report.metrics['objective']:.4f}"
            end = report.epoch if report.final else total
            progress.update(task, completed=report.epoch, description=text, total=end)

        measured = measure_arm(config, arm, prepared, bm25, watch)
        text = f"{arm}: validation objective {measured.validation.objective:.4f}"
        progress.update(task, completed=progress.tasks[task].total, description=text)
        return measured


if __name__ == "__main__":
    run(app)
