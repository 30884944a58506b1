"""Options of commands that read collections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quantum_rerank.export.trained_model import TrainedModel

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="ROLE=COLUMN,...",
        help="Names of the columns of a table (`csv:`, `parquet:`, `triplets:`, `datasets:`), as "
        "in `query=q,document=text,label=rel`; roles are query, document, label, positive and "
        "negative. Sets `data.columns`.",
    ),
]

MaxUnmatched = Annotated[
    float | None,
    typer.Option(
        "--max-unmatched-judgments",
        min=0.0,
        max=1.0,
        help="Largest share of a collection's judgments that may name absent texts; such "
        "judgments are left out. Replaces `data.max_unmatched_judgments` of the model's "
        "configuration.",
    ),
]


def with_reading_options(
    model: TrainedModel, columns: str | None, max_unmatched: float | None = None
) -> TrainedModel:
    """Return a model with a configuration that reads collections by these options.

    Args:
        model: Trained model.
        columns: Value of `--columns`; None changes nothing.
        max_unmatched: Value of `--max-unmatched-judgments`; None changes nothing.

    Raises:
        ConfigError: `columns` names no role or no column.
    """
    from quantum_rerank.config import override, parse_columns

    overrides: dict[str, object] = dict(parse_columns(columns)) if columns else {}
    if max_unmatched is not None:
        overrides["data.max_unmatched_judgments"] = max_unmatched
    return replace(model, config=override(model.config, overrides)) if overrides else model
