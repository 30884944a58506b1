"""Hold a trained model against every target of the task, on any collection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantum_rerank.cli.reading_options import Columns, MaxUnmatched, reading_as
from quantum_rerank.cli.trained_model import BatchSize, Device, EncoderName, ModelPath
from quantum_rerank.console import run

if TYPE_CHECKING:
    from quantum_rerank.cli.trained_model import TrainedModel
    from quantum_rerank.config import DataConfig
    from quantum_rerank.embeddings import EmbeddingSource
    from quantum_rerank.evaluation.measurements import ModelAndCosine
    from quantum_rerank.evaluation.query_set import QuerySet
    from quantum_rerank.evaluation.targets import TargetResult

FAILED_EXIT_CODE = 3

_OTHER_DATA = (
    "Queries that it has learned from could be among those it is tested on. Name other collections "
    "with --data."
)

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def main(
    model: ModelPath,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="A collection, such as `icd10:5` or `beir:FOLDER`. Repeatable. Without it, all "
            "those of the model's configuration."
        ),
    ] = None,
    columns: Columns = None,
    max_unmatched_judgments: MaxUnmatched = None,
    encoder: EncoderName = None,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="What is not known counts as failed.")
    ] = False,
) -> None:
    """Print every target of the task with the model's value, and pass, fail or not known.

    A collection that the model was trained on is split as it was then, and refused where it
    was changed; the queries of any other are those of an unseen domain. What nobody knows (one
    seed, no unseen domain, a checkpoint without its history) is not known, neither a pass nor
    a fail.

    Exit codes: 0 nothing failed; 2 a mistake in what was given; 3 a target was failed, or,
    with --strict, is not known. Examples:

        python -m quantum_rerank.cli.validate_training runs/first

        python -m quantum_rerank.cli.validate_training RUN/best \\
            --data icd10:5 --data icd10:3
    """
    from quantum_rerank.cli.trained_model import load_model, source_for
    from quantum_rerank.evaluation.role_scores import score_against_cosine
    from quantum_rerank.evaluation.target_table import target_table
    from quantum_rerank.evaluation.targets import evaluate_targets
    from quantum_rerank.plain_console import make_console
    from quantum_rerank.training.data_description import describe_skipped
    from quantum_rerank.training.recall import recall_warnings

    trained = reading_as(load_model(model), columns, max_unmatched_judgments)
    named = encoder or trained.config.data.encoder
    source = source_for(trained, encoder, device, batch_size)
    roles = _roles(trained, data or [], source, named)
    scores = score_against_cosine(trained.head, trained.fusion_weight, roles)
    targets = evaluate_targets(scores, trained.training_summary, trained.seeds)
    if as_json:
        print(json.dumps(_record(model, trained, roles, scores, targets)))
    else:
        console = make_console()
        for line in describe_skipped(_skipped(roles)) + recall_warnings(_query_sets(roles)):
            console.print(line, soft_wrap=True)
        console.print(_score_table(roles, scores))
        console.print(target_table(f"Targets of {trained.config.model} in {model}", targets))
    failed = any(t.passed is False or (strict and t.passed is None) for t in targets)
    raise typer.Exit(FAILED_EXIT_CODE if failed else 0)


def _roles(
    trained: TrainedModel, specs: Sequence[str], source: EmbeddingSource, encoder: str
) -> Mapping[str, Sequence[QuerySet]]:
    """Role -> query sets, of the collections given or of those of the configuration."""
    from quantum_rerank.cli.trained_model import (
        require_same_data,
        require_same_encoder,
        require_same_vectors,
        require_same_width,
    )
    from quantum_rerank.training.data_manager import prepare
    from quantum_rerank.training.evaluation_data import (
        includes_training_data,
        load_roles,
    )

    require_same_encoder(trained, source, encoder)
    config = trained.config.data
    if specs:
        if trained.data_fingerprint and includes_training_data(config, specs):
            require_same_data(trained, _fingerprint_now(config, specs), _OTHER_DATA)
        roles = load_roles(config, specs, source)
    else:
        prepared = prepare(config, source)
        require_same_vectors(trained, prepared.encoder_fingerprint, encoder)
        require_same_data(trained, prepared.fingerprint, _OTHER_DATA)
        roles = prepared.roles
    widths = {one.queries.shape[1] for sets in roles.values() for one in sets}
    for width in sorted(widths):
        require_same_width(trained, width, encoder)
    return roles


def _fingerprint_now(config: DataConfig, specs: Sequence[str]) -> str:
    """Of the collections of a configuration, those that `specs` name where they lie now."""
    from quantum_rerank.errors import DataError
    from quantum_rerank.training.evaluation_data import with_moved_folders
    from quantum_rerank.training.run_collections import split_collections

    try:
        return split_collections(with_moved_folders(config, specs)).fingerprint
    except DataError as error:
        raise DataError(
            [
                *error.problems,
                "Whether a collection is still the one that was trained on is known of all those "
                "of the model's configuration together. Name those that were moved with --data "
                "too, or only collections that it was not trained on.",
            ]
        ) from None


def _skipped(roles: Mapping[str, Sequence[QuerySet]]) -> dict[str, dict[str, int]]:
    """Domain -> what was not taken as it was given."""
    return {q.domain: dict(q.skipped) for sets in roles.values() for q in sets if q.skipped}


def _query_sets(roles: Mapping[str, Sequence[QuerySet]]) -> list[QuerySet]:
    return [queries for sets in roles.values() for queries in sets]


def _score_table(
    roles: Mapping[str, Sequence[QuerySet]], scores: Mapping[str, ModelAndCosine]
) -> Any:
    from rich.table import Table

    table = Table(title="NDCG@10, each domain counting the same", title_justify="left", box=None)
    table.add_column("queries", no_wrap=True)
    for column in ("number", "model", "cosine", "vs cosine"):
        table.add_column(column, justify="right")
    table.add_column("domains", overflow="fold")
    for role, both in scores.items():
        sets = roles[role]
        number = sum(len(queries.query_ids) for queries in sets)
        gain = "-" if both.ratio is None else f"{both.ratio - 1.0:+.1%}"
        domains = ", ".join(queries.domain for queries in sets)
        table.add_row(role, str(number), f"{both.model:.4f}", f"{both.cosine:.4f}", gain, domains)
    return table


def _record(
    path: Path,
    trained: TrainedModel,
    roles: Mapping[str, Sequence[QuerySet]],
    scores: Mapping[str, ModelAndCosine],
    targets: Sequence[TargetResult],
) -> dict[str, Any]:
    from quantum_rerank.evaluation.targets import target_records
    from quantum_rerank.training.recall import recall_warnings

    return {
        "path": str(path),
        "model": trained.config.model,
        "fusion_weight": trained.fusion_weight,
        "queries": {
            role: {queries.domain: len(queries.query_ids) for queries in sets}
            for role, sets in roles.items()
            if sets
        },
        "skipped": _skipped(roles),
        "warnings": recall_warnings(_query_sets(roles)),
        "role_scores": {role: asdict(both) for role, both in scores.items()},
        "targets": target_records(targets),
    }


if __name__ == "__main__":
    run(app)
