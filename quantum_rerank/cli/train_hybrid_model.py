"""Train one hybrid reranker and hold it against cosine, its MLP twin and the circuit alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.cli import unfinished
from quantum_rerank.console import new_folder, run
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import Scores, difference_table, leaderboard

if TYPE_CHECKING:
    from rich.console import Console

    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.embeddings import EmbeddingSource
    from quantum_rerank.training.arms import TrainedArm
    from quantum_rerank.training.data_manager import PreparedData, TrialData
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
            help="A collection to train and test on: `icd10:CHAPTER` or `beir:FOLDER`. "
            "Repeatable. Replaces every collection of the configuration."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one value, as in `--set training.max_epochs=20`."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --output, which was cut short."),
    ] = False,
) -> None:
    """Train one hybrid reranker, and beside it the arms that an honest claim needs.

    The best epoch is chosen on validation queries, the test queries are scored
    once. Example:

        python -m quantum_rerank.cli.train_hybrid_model
            --config configs/training_config.yaml --data icd10:5 --output runs/first

    A run that was killed goes on where it was, with the configuration that it has:

        python -m quantum_rerank.cli.train_hybrid_model --output runs/first --resume
    """
    from rich.console import Console

    from quantum_rerank.config import load_config, parse_override
    from quantum_rerank.embeddings import embedding_source
    from quantum_rerank.training.data_manager import prepare

    if resume:
        if config or data or set_:
            raise ConfigError(
                "A run goes on with its own configuration: leave out what changes it."
            )
        experiment, begun_with = unfinished.interrupted(output, METRICS_FILE)
        folder = output
    else:
        overrides = dict(parse_override(text) for text in set_ or [])
        if data:
            overrides |= {"data.seen": data, "data.unseen_validation": [], "data.unseen_test": []}
        experiment = load_config(config, overrides)
        folder = new_folder(output)
    console = Console()
    started = time.monotonic()
    source = embedding_source(experiment.data.encoder)
    prepared = prepare(experiment.data, source)
    if resume:
        unfinished.require_same_data(folder, begun_with, prepared.fingerprint)
        unfinished.clear(folder, BUNDLE)
    else:
        unfinished.begin(folder, experiment, prepared.fingerprint)
    console.print(*prepared.description(), sep="\n")
    arms: dict[str, None] = dict.fromkeys(["cosine", "quantum_only", "mlp_twin", experiment.arm])
    trained = {arm: _train(experiment, arm, prepared.trial, console, folder) for arm in arms}
    scores = _score(trained, prepared)
    _write(folder, trained, scores, prepared, source, time.monotonic() - started)
    for role, systems in scores.items():
        console.print(leaderboard(f"{role} queries, scored once", systems))
        others = {arm: one for arm, one in systems.items() if arm != experiment.arm}
        console.print(difference_table(experiment.arm, systems[experiment.arm], others))
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


def _write(
    folder: Path,
    trained: Mapping[str, TrainedArm],
    scores: Mapping[str, Mapping[str, Scores]],
    prepared: PreparedData,
    source: EmbeddingSource,
    seconds: float,
) -> None:
    """Write metrics.json, and the last trained arm, the one that was asked for, as a bundle."""
    from quantum_rerank.export import export_model

    report = {
        role: {arm: dict(one.metrics) for arm, one in systems.items()}
        for role, systems in scores.items()
    }
    arm, chosen = list(trained.items())[-1]
    export_model(
        folder / BUNDLE,
        chosen.head,
        chosen.config,
        chosen.validation.fusion_weight,
        source.fingerprint,
        prepared.fingerprint,
        {"validation": chosen.validation.metrics}
        | {role: systems[arm] for role, systems in report.items()},
        prepared.examples,
    )
    record = {
        **report,
        "validation": {name: one.validation.metrics for name, one in trained.items()},
        "fusion_weight": {name: one.validation.fusion_weight for name, one in trained.items()},
        "epochs": {name: one.epochs for name, one in trained.items()},
        "config": chosen.config.model_dump(mode="json"),
        "splits": prepared.splits,
        "data_fingerprint": prepared.fingerprint,
        "wall_seconds": round(seconds, 1),
    }
    unfinished.write_whole(folder / METRICS_FILE, record)  # the last: with it the run is finished


def _train(
    config: ExperimentConfig, arm: str, data: TrialData, console: Console, folder: Path
) -> TrainedArm:
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
            text = f"{arm}: validation objective {report.metrics['objective']:.4f}"
            end = report.epoch if report.final else total
            progress.update(task, completed=report.epoch, description=text, total=end)
            if report.warning and report.final:
                console.print(f"{arm}, epoch {report.epoch}: {report.warning}", markup=False)

        return train_arm(config, arm, data, watch, progress=unfinished.progress_of(folder, arm))


if __name__ == "__main__":
    run(app)
