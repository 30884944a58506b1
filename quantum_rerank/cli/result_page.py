"""Ended runs as one page with pictures, which opens without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from quantum_rerank.cli.ended_runs import Group
from quantum_rerank.cli.result_tables import Paired, Tabular
from quantum_rerank.errors import MissingPackage, OutputError

_STYLE = (
    "body{font-family:sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}"
    "th{border-bottom:1px solid #999}"
)


def write_page(path: Path, title: str, parts: Iterable[Tabular | Any]) -> None:
    """Write tables and pictures, one below the other.

    parts: `Tabular`, or a figure of plotly.  Raises: OutputError if it cannot be written.
    """
    body, library = list[str](), True
    for part in parts:
        if isinstance(part, Tabular):
            body.append(_table(part))
        else:  # the library is within the page, once: it opens offline
            body.append(part.to_html(full_html=False, include_plotlyjs=library))
            library = False
    page = (
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(body)}</body></html>"
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"`{path}` cannot be written: {error.strerror}.") from None


def _table(table: Tabular) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>{rows}</table>"


def curves(groups: Sequence[Group], key: str, title: str) -> Any:
    """A line per training: what its reports say under `key`, by epoch, its model and its twins."""
    figure = _plotly().Figure()
    for group in groups:
        for run in group.runs:
            for model, history in run.record["history"].items():
                if len(history) < 2:  # the cosine has nothing to learn
                    continue
                figure.add_scatter(
                    x=[epoch["epoch"] for epoch in history],
                    y=[epoch[key] for epoch in history],
                    mode="lines",
                    name=f"{model}, {group.name}, seed {run.seed}",
                )
    return figure.update_layout(title=title, xaxis_title="epoch", yaxis_title=key)


def spread(groups: Sequence[Group]) -> Any:
    """A point per training: the validation objective of every model, over seeds."""
    figure = _plotly().Figure()
    for group in groups:
        points = [
            (model, run.objective(model), run.seed) for run in group.runs for model in group.models
        ]
        figure.add_scatter(
            x=[model for model, _, _ in points],
            y=[value for _, value, _ in points],
            text=[f"seed {seed}" for _, _, seed in points],
            mode="markers",
            name=group.name,
        )
    return figure.update_layout(
        title="Spread over seeds", xaxis_title="model", yaxis_title="validation objective"
    )


def differences(title: str, pairs: Mapping[str, Sequence[Paired]]) -> Any:
    """Differences with their intervals; 0 is where two models are equal. pairs: by role."""
    figure = _plotly().Figure()
    for role, found in pairs.items():
        figure.add_scatter(
            x=[one.found.difference for one in found],
            y=[f"{one.model} minus {one.other}" for one in found],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.found.high - one.found.difference for one in found],
                "arrayminus": [one.found.difference - one.found.low for one in found],
            },
            mode="markers",
            name=role,
        )
    figure.add_vline(x=0.0, line_dash="dot")
    return figure.update_layout(title=title, xaxis_title="difference in NDCG@10, 95 % interval")


def _plotly() -> Any:
    try:
        from plotly import graph_objects
    except ImportError:
        raise MissingPackage("plotly", "report", "The page with pictures") from None
    return graph_objects
