"""Train one reranker and hold it against other models: the same data, seed and budget for each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.cli import unfinished
from quantum_rerank.cli.reading_options import Columns
from quantum_rerank.cli.training_record import (
    BUNDLE,
    CHECKPOINTS,
    METRICS_FILE,
    TimedModel,
    export_models,
    judge,
    write_record,
)
from quantum_rerank.console import new_folder, run
from quantum_rerank.errors import ConfigError, DivergedError, SaturatedError
from quantum_rerank.evaluation import COSINE, difference_table, leaderboard
from quantum_rerank.folder_lock import locked
from quantum_rerank.output_streams import as_a_display

if TYPE_CHECKING:
    from rich.console import Console

    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.training.lexical import Bm25
    from quantum_rerank.training.trainer import EpochReport
    from quantum_rerank.training.trial_data import PreparedData

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
            "`trec:FOLDER`, `csv:FILE`, `parquet:FILE`, `triplets:FILE`, `datasets:FOLDER`, "
            "`ir_datasets:ID`, `zaragoza:all`, `gpe:TOPIC`. "
            "Repeatable. Replaces every collection of the configuration, but not what --set names."
        ),
    ] = None,
    columns: Columns = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "--models",
            help="A model to train beside cosine and the configured one, such as `--model rbf "
            "--model bm25`, or `all`. Without it: quantum_only and mlp_twin.",
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
    """Train one hybrid reranker, and beside it the models that an honest claim needs.

    Every model has the same data, seed and epochs; its best epoch is chosen on
    validation queries, the test queries are scored once. Example:

        python -m quantum_rerank.cli.train_hybrid_model \\
            --config configs/training_config.yaml --data icd10:5 --output runs/first

    A run that was killed goes on where it was, with the configuration that it has:

        python -m quantum_rerank.cli.train_hybrid_model --output runs/first --resume
    """
    from quantum_rerank.config import load_config, parse_columns, parse_override
    from quantum_rerank.training.models import check_model_names

    if resume:
        if config or data or columns or model or set_:
            raise ConfigError(
                "A run goes on with its own configuration and models: leave out what changes them."
            )
        unfinished.interrupted(output, METRICS_FILE)  # what is no run's folder gets no lock
        with locked(output):
            # Read once more: another process may have ended the run in between.
            begun = unfinished.interrupted(output, METRICS_FILE)
            _train(begun.config, begun.models, output, begun)
    else:
        others = check_model_names(model or ["quantum_only", "mlp_twin"])
        overrides = dict(parse_override(text) for text in set_ or [])
        if data:
            overrides["data.seen"] = data
        if columns:
            overrides |= parse_columns(columns)
        experiment = load_config(config, overrides).resolved()
        with locked(new_folder(output)):
            _train(experiment, others, output)


@as_a_display()
def _train(
    experiment: ExperimentConfig,
    others: Sequence[str],
    folder: Path,
    begun: unfinished.RunRecord | None = None,
) -> None:
    """Train and measure every model, write all down, and show it.

    begun: what is gone on with, where there is something.
    """
    from quantum_rerank.embeddings import source_of
    from quantum_rerank.evaluation.target_table import target_table
    from quantum_rerank.plain_console import make_console
    from quantum_rerank.training.data_description import describe
    from quantum_rerank.training.data_manager import prepare

    console = make_console()
    started = time.monotonic()
    source = source_of(experiment.data)
    prepared = prepare(experiment.data, source)
    now = unfinished.RunRecord(experiment, tuple(others), prepared.fingerprint, source.fingerprint)
    if begun:
        unfinished.go_on(folder, begun, now, (BUNDLE, CHECKPOINTS))
    else:
        unfinished.begin(folder, now)
    console.print(*describe(prepared), sep="\n", soft_wrap=True)
    own = experiment.model
    timed, left_out = _measure_all(experiment, others, prepared, console, folder)
    measured = {name: one.measured for name, one in timed.items()}
    judged = judge(timed[own], prepared)
    export_models(folder, own, measured, judged.training_summary, prepared, source)
    wall_seconds = time.monotonic() - started
    write_record(folder, own, timed, left_out, judged, prepared, wall_seconds)
    n_trained = {name: one.n_trained for name, one in measured.items()}
    for role in prepared.test_roles:
        systems = {name: one.test[role] for name, one in measured.items()}
        console.print(leaderboard(f"{role} queries, scored once", systems))
        compared = {name: one for name, one in systems.items() if name != own}
        console.print(difference_table(own, systems[own], compared, n_trained))
    console.print(target_table(f"Targets of {own}", judged.targets))
    console.print(f"Wrote {folder / METRICS_FILE} and {folder / BUNDLE}.", soft_wrap=True)


def _measure_all(
    config: ExperimentConfig,
    others: Sequence[str],
    prepared: PreparedData,
    console: Console,
    folder: Path,
) -> tuple[dict[str, TimedModel], dict[str, str]]:
    """The models that could be trained, the configured one last, and why the others could not."""
    from quantum_rerank.training.lexical import Bm25

    bm25, own = Bm25(config.data), config.model
    timed: dict[str, TimedModel] = {}
    left_out: dict[str, str] = {}
    for name in [name for name in dict.fromkeys([COSINE, *others]) if name != own] + [own]:
        try:
            timed[name] = _measure(config, name, prepared, bm25, console, folder)
        except (DivergedError, SaturatedError) as error:
            if name == own:
                raise
            left_out[name] = str(error)
            console.print(f"{name} is left out: {error}")
    return timed, left_out


def _measure(
    config: ExperimentConfig,
    model: str,
    prepared: PreparedData,
    bm25: Bm25,
    console: Console,
    folder: Path,
) -> TimedModel:
    """Train and score a model behind a progress bar that counts epochs.

    What an earlier process has trained of it is gone on from, and its seconds count.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from quantum_rerank.plain_console import make_progress
    from quantum_rerank.training.models import LEXICAL_MODELS, measure_model

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with make_progress(*columns, console=console) as progress:
        total = 1 if model in (COSINE, *LEXICAL_MODELS) else config.training.max_epochs
        task = progress.add_task(model, total=total)

        def watch(report: EpochReport) -> None:
            text = f"{model}: validation objective {report.metrics['objective']:.4f}"
            end = report.epoch if report.final else total
            progress.update(task, completed=report.epoch, description=text, total=end)
            if report.warning and report.final:
                console.print(f"{model}, epoch {report.epoch}: {report.warning}")
            unfinished.note_seconds(folder, model, before + time.monotonic() - started)

        def tell(text: str) -> None:
            console.print(f"{model}: {text}", soft_wrap=True)

        started, before = time.monotonic(), unfinished.seconds_spent(folder, model)
        written = unfinished.progress_of(folder, model, tell)
        measured = measure_model(config, model, prepared, bm25, watch, written)
        text = f"{model}: validation objective {measured.validation.objective:.4f}"
        progress.update(task, completed=progress.tasks[task].total, description=text)
        return TimedModel(measured, before + time.monotonic() - started)


if __name__ == "__main__":
    run(app)
