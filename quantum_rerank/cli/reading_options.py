"""Options of commands that say how collections are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quantum_rerank.cli.trained_model import TrainedModel

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="ROLE=COLUMN,...",
        help="What the columns of a table (`csv:`, `parquet:`, `triplets:`, `datasets:`) are "
        "called, as in `query=q,document=text,label=rel`; roles are query, document, label, "
        "positive and negative. Sets `data.columns`.",
    ),
]

MaxUnmatched = Annotated[
    float | None,
    typer.Option(
        "--max-unmatched-judgments",
        min=0.0,
        max=1.0,
        help="The share of a collection's judgments that may name absent texts; they are left "
        "out. Replaces `data.max_unmatched_judgments` of the model's configuration.",
    ),
]


def reading_as(
    trained: TrainedModel, columns: str | None, max_unmatched: float | None = None
) -> TrainedModel:
    """The model with a configuration that reads collections as the options say."""
    from quantum_rerank.config import override, parse_columns

    overrides: dict[str, object] = dict(parse_columns(columns)) if columns else {}
    if max_unmatched is not None:
        overrides["data.max_unmatched_judgments"] = max_unmatched
    return replace(trained, config=override(trained.config, overrides)) if overrides else trained
