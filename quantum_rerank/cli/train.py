"""Command `train`: train one reranker beside its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.cli.reading_options import Columns
from quantum_rerank.console import run
from quantum_rerank.errors import ConfigError
from quantum_rerank.output_streams import as_a_display

if TYPE_CHECKING:
    from rich.console import Console

    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.workflows.train import FinishedRun

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

_CONFIG = Path("tuned")
_DEFAULT_MODELS = ("quantum_only", "mlp_twin")

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        help="Configuration: `tuned`, `tuned_twin`, `discriminant` (trained in seconds, hardly "
        "overfits), `default` (a circuit of 4 qubits and depth 15, not tuned) or a YAML file.",
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="A collection to train and test on: `icd10:CHAPTER`, `beir:FOLDER`, `trec:FOLDER`, "
        "`csv:FILE`, `parquet:FILE`, `triplets:FILE`, `datasets:FOLDER`, `ir_datasets:ID`, "
        "`zaragoza:all`, `gpe:TOPIC`. Repeatable. Replaces all collections of the configuration, "
        "except those that --set names.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "--models",
        help="A model to train beside cosine and the configured model, such as `--model rbf "
        "--model bm25`, or `all`. Repeatable. Default: quantum_only and mlp_twin.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override one value, as in `--set training.max_epochs=20`. Repeatable."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume the interrupted run in the folder --output.")
]
LearningCurveOption = Annotated[
    bool,
    typer.Option(
        "--learning-curve",
        help="Train the configured model with a quarter, a half and all of the training queries, "
        "on three seeds each, and print what the labels bring and what twice as many would be "
        "expected to bring.",
    ),
]


@app.command()
def train(
    output: Annotated[Path, typer.Option(help="New folder for metrics.json and the bundle.")],
    config: ConfigFile = _CONFIG,
    data: Data = None,
    columns: Columns = None,
    model: Models = None,
    set_: Overrides = None,
    learning_curve: LearningCurveOption = False,
    resume: Resume = False,
) -> None:
    """Train one reranker, and its baselines on the same data, seed and epochs.

    The best epoch of every model is selected on validation queries. The test queries are scored
    once, at the end. Example:

        quantum-rerank train --data csv:clicks.csv --output runs/first

    Resume an interrupted run with its own configuration:

        quantum-rerank train --output runs/first --resume

    Learn whether there are enough judged queries (nine trainings; the output folder has the
    scores as learning_curve.json and learning_curve.csv, but no bundle):

        quantum-rerank train --learning-curve --data csv:clicks.csv \\
            --output runs/curve
    """
    from quantum_rerank.plain_console import make_console
    from quantum_rerank.workflows.train import resume_run, train_run

    if resume and (config != _CONFIG or data or columns or model or set_ or learning_curve):
        raise ConfigError(
            "--resume continues a run with its own configuration and models: leave out --config, "
            "--data, --columns, --model, --set and --learning-curve."
        )
    if learning_curve and model:
        raise ConfigError(
            "--learning-curve trains the configured model beside the cosine and BM25 + cosine: "
            "leave out --model, or choose the model by `--set model=NAME`."
        )
    console = make_console()
    if learning_curve:
        with as_a_display():
            _learn(output, _configuration(config, data, columns, set_), console)
        return
    with as_a_display():
        from quantum_rerank.cli.training_display import TrainingDisplay

        with TrainingDisplay(console) as display:
            if resume:
                finished = resume_run(output, display)
            else:
                models = _checked_models(model or _DEFAULT_MODELS)
                settings = _configuration(config, data, columns, set_)
                finished = train_run(output, settings, models, display)
        _print_results(finished, output, console)


def _learn(folder: Path, config: ExperimentConfig, console: Console) -> None:
    """Measure a learning curve, and print and draw it."""
    from quantum_rerank.cli.curve_display import CurveDisplay
    from quantum_rerank.errors import MissingPackage
    from quantum_rerank.reports.learning_curve import curve_sentences, curve_table, write_curve_page
    from quantum_rerank.workflows.learning_curve import CURVE_CSV, CURVE_JSON, CURVE_PAGE, learn

    with CurveDisplay(console) as display:
        curve = learn(folder, config, display)
    console.print(curve_table(curve).rich())
    console.print(*curve_sentences(curve), sep="\n", soft_wrap=True)
    written = [folder / CURVE_JSON, folder / CURVE_CSV]
    try:
        write_curve_page(folder / CURVE_PAGE, curve)
        written.append(folder / CURVE_PAGE)
    except MissingPackage as error:
        console.print(f"No chart: {error}", soft_wrap=True)
    console.print(f"Wrote {', '.join(map(str, written))}.", soft_wrap=True)


def _checked_models(names: Sequence[str]) -> list[str]:
    from quantum_rerank.training.models import check_model_names

    return check_model_names(names)


def _configuration(
    path: Path,
    data: Sequence[str] | None,
    columns: str | None,
    overrides: Sequence[str] | None,
) -> ExperimentConfig:
    """Return the configuration of a file, with the values of options in place of its own."""
    from quantum_rerank.config import load_config, parse_columns, parse_override
    from quantum_rerank.presets import CONFIGS, preset_or_file

    values = dict(parse_override(text) for text in overrides or [])
    if data:
        values["data.seen"] = data
    if columns:
        values |= parse_columns(columns)
    return load_config(preset_or_file(path, CONFIGS), values).resolved()


def _print_results(finished: FinishedRun, folder: Path, console: Console) -> None:
    """Print a leaderboard for each role of test queries, and the targets."""
    from quantum_rerank.evaluation import difference_table, leaderboard
    from quantum_rerank.evaluation.target_table import target_table
    from quantum_rerank.training.run_results import BUNDLE, METRICS_FILE

    results = finished.results
    n_trained = {name: model.n_trained for name, model in results.measured.items()}
    for role in finished.prepared.test_roles:
        systems = {name: model.test[role] for name, model in results.measured.items()}
        console.print(leaderboard(role, systems))
        baselines = {name: scores for name, scores in systems.items() if name != results.model}
        system = systems[results.model]
        console.print(difference_table(results.model, system, baselines, n_trained))
    console.print(target_table(f"Targets of {results.model}", results.report.results))
    console.print(f"Wrote {folder / METRICS_FILE} and {folder / BUNDLE}.", soft_wrap=True)


if __name__ == "__main__":
    run(app)
