"""Command `evaluate`: evaluate a trained model against the targets, on any collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.cli.model_options import BatchSize, Device, EncoderName, ModelPath
from quantum_rerank.cli.reading_options import Columns, MaxUnmatched, with_reading_options
from quantum_rerank.console import run

if TYPE_CHECKING:
    from quantum_rerank.reports.tabular import Tabular
    from quantum_rerank.workflows.evaluate import Evaluation

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

FAILED_EXIT_CODE = 3

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="A collection, such as `icd10:5` or `beir:FOLDER`. Repeatable. Default: all "
        "collections of the model's configuration.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Count targets that are not known as failed.")
]


@app.command()
def evaluate(
    model: ModelPath,
    data: Data = None,
    columns: Columns = None,
    max_unmatched_judgments: MaxUnmatched = None,
    encoder: EncoderName = None,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    as_json: AsJson = False,
    strict: Strict = False,
) -> None:
    """Evaluate a model against the targets: print their values, and pass, fail or not known.

    A collection of the training keeps its split; if it has changed, the command refuses it. All
    queries of another collection count as an unseen domain. A target that cannot be measured (with
    one seed, no unseen domain, or weights without a training history) is not known.

    Exit codes: 0 no target failed; 2 invalid input; 3 a target failed or, with --strict, is not
    known. Examples:

        quantum-rerank evaluate runs/first

        quantum-rerank evaluate RUN/best --data icd10:5 --data icd10:3
    """
    from quantum_rerank.export.trained_model import encoder_for, load_model
    from quantum_rerank.workflows.evaluate import evaluate_model

    trained = with_reading_options(load_model(model), columns, max_unmatched_judgments)
    text_encoder = encoder_for(trained, encoder, device, batch_size)
    evaluation = evaluate_model(trained, data or [], text_encoder)
    if as_json:
        print(json.dumps({"path": str(model), **evaluation.record()}))
    else:
        _print(evaluation, model)
    outcomes = [target.passed for target in evaluation.targets]
    failed = False in outcomes or (strict and None in outcomes)
    raise typer.Exit(FAILED_EXIT_CODE if failed else 0)


def _print(evaluation: Evaluation, path: Path) -> None:
    """Print notes on the data, the scores by role, and the targets."""
    from quantum_rerank.evaluation.target_table import target_table
    from quantum_rerank.plain_console import make_console

    console = make_console()
    for line in evaluation.notes:
        console.print(line, soft_wrap=True)
    console.print(_scores_table(evaluation).rich())
    title = f"Targets of {evaluation.model.config.model} in {path}"
    console.print(target_table(title, evaluation.targets))


def _scores_table(evaluation: Evaluation) -> Tabular:
    from quantum_rerank.reports.tabular import Tabular

    rows = []
    for role, scores in evaluation.scores.items():
        sets = evaluation.roles[role]
        number = sum(len(queries.query_ids) for queries in sets)
        gain = "-" if scores.ratio is None else f"{scores.ratio - 1.0:+.1%}"
        domains = ", ".join(queries.domain for queries in sets)
        values = (f"{scores.model:.4f}", f"{scores.cosine:.4f}", gain)
        rows.append((role, str(number), *values, domains))
    columns = ("queries", "number", "model", "cosine", "vs cosine", "domains")
    title = "NDCG@10, each domain counting the same"
    return Tabular(title, columns, tuple(rows), texts=("domains",))


if __name__ == "__main__":
    run(app)
