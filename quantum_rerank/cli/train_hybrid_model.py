"""Train one reranker and hold it against other arms: the same data, seed and budget for each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.cli.training_record import (
    BUNDLE,
    METRICS_FILE,
    TimedArm,
    export_arms,
    judge,
    write_record,
)
from quantum_rerank.console import new_folder, run
from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.evaluation import COSINE, difference_table, leaderboard

if TYPE_CHECKING:
    from rich.console import Console

    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.training.data_manager import PreparedData
    from quantum_rerank.training.lexical import Bm25
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
            help="A collection to train and test on: `icd10:CHAPTER`, `beir:FOLDER`, "
            "`trec:FOLDER`, `csv:FILE`, `ir_datasets:ID`, `zaragoza:all`, `gpe:TOPIC`. "
            "Repeatable. Replaces every collection of the configuration, but not what --set names."
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
    from quantum_rerank.training.verdict_table import verdict_table

    others = arms_named(arm or ["quantum_only", "mlp_twin"])
    overrides = dict(parse_override(text) for text in set_ or [])
    if data:
        # Unseen ones that are named beside them are kept.
        unseen: dict[str, object] = {"data.unseen_validation": [], "data.unseen_test": []}
        overrides = unseen | overrides | {"data.seen": data}
    experiment = load_config(config, overrides)
    folder = new_folder(output)
    console = Console()
    started = time.monotonic()
    source = embedding_source(experiment.data.encoder)
    prepared = prepare(experiment.data, source)
    console.print(*prepared.description(), sep="\n", soft_wrap=True)
    bm25 = Bm25(experiment.data)
    own = experiment.arm
    arms = [name for name in dict.fromkeys([COSINE, *others]) if name != own] + [own]
    left_out: dict[str, str] = {}
    timed: dict[str, TimedArm] = {}
    for name in arms:
        try:
            timed[name] = _measure(experiment, name, prepared, bm25, console)
        except (DivergedError, SaturatedError) as error:
            if name == own:
                raise
            left_out[name] = str(error)
            console.print(f"{name} is left out: {error}")
    measured = {name: one.measured for name, one in timed.items()}
    judged = judge(timed[own], prepared)
    export_arms(folder, own, measured, judged.course, prepared, source)
    wall_seconds = time.monotonic() - started
    write_record(folder, own, timed, left_out, judged, prepared, wall_seconds)
    n_trained = {name: one.n_trained for name, one in measured.items()}
    for role in prepared.tests:
        systems = {name: one.test[role] for name, one in measured.items()}
        console.print(leaderboard(f"{role} queries, scored once", systems))
        compared = {name: one for name, one in systems.items() if name != own}
        console.print(difference_table(own, systems[own], compared, n_trained))
    console.print(verdict_table(f"Targets of {own}", judged.verdicts))
    console.print(f"Wrote {folder / METRICS_FILE} and {folder / BUNDLE}.", soft_wrap=True)


def _measure(
    config: ExperimentConfig, arm: str, prepared: PreparedData, bm25: Bm25, console: Console
) -> TimedArm:
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
            if report.warning and report.final:
                console.print(f"{arm}, epoch {report.epoch}: {report.warning}", markup=False)

        started = time.monotonic()
        measured = measure_arm(config, arm, prepared, bm25, watch)
        text = f"{arm}: validation objective {measured.validation.objective:.4f}"
        progress.update(task, completed=progress.tasks[task].total, description=text)
        return TimedArm(measured, time.monotonic() - started)


if __name__ == "__main__":
    run(app)
