"""Page of a report: its tables and charts in one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from quantum_rerank.errors import MissingPackage, OutputError
from quantum_rerank.reports.report import Report
from quantum_rerank.reports.runs import Group
from quantum_rerank.reports.tables import Paired
from quantum_rerank.reports.tabular import Tabular

_STYLE = (
    "body{font-family:sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}"
    "th{border-bottom:1px solid #999}"
)


def write_page(path: Path, title: str, parts: Iterable[Tabular | Any]) -> None:
    """Write tables and charts, one below the other.

    Args:
        path: File to write.
        title: Title of the page.
        parts: Tables, and figures of plotly.

    Raises:
        OutputError: The file cannot be written.
    """
    body, library = list[str](), True
    for part in parts:
        if isinstance(part, Tabular):
            body.append(_table(part))
        else:  # the page holds the library once, so that it opens offline
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


def write_report(path: Path, report: Report) -> None:
    """Write a report as a page with charts.

    Args:
        path: File to write.
        report: Tables of the report.

    Raises:
        OutputError: The file cannot be written.
        MissingPackage: plotly is not installed.
    """
    parts: list[Any] = [*report.overview]
    if report.groups:
        parts += [
            curves(report.groups, "train_loss", "Training loss"),
            curves(report.groups, "objective", "Best validation objective so far"),
            spread(report.groups),
        ]
    for group in report.groups:
        title = f"{group.name}: models, paired over queries"
        parts += [differences(title, report.pairs[group.name]), *report.by_group[group.name]]
    write_page(path, "Results of training", [*parts, *report.searches])


def _table(table: Tabular) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>{rows}</table>"


def curves(groups: Sequence[Group], key: str, title: str) -> Any:
    """Return a chart with a line per model and training.

    Args:
        groups: Groups of trainings.
        key: Key of an epoch's report.
        title: Title of the chart.
    """
    figure = _plotly().Figure()
    for group in groups:
        for run in group.runs:
            for model, history in run.record["history"].items():
                if len(history) < 2:  # cosine is not trained
                    continue
                figure.add_scatter(
                    x=[epoch["epoch"] for epoch in history],
                    y=[epoch[key] for epoch in history],
                    mode="lines",
                    name=f"{model}, {group.name}, seed {run.seed}",
                )
    return figure.update_layout(title=title, xaxis_title="epoch", yaxis_title=key)


def spread(groups: Sequence[Group]) -> Any:
    """Return a chart with a point per model and training: its validation objective."""
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
    """Return a chart of differences with their intervals; at 0 two models are equal.

    Args:
        title: Title of the chart.
        pairs: Role of queries -> differences.
    """
    figure = _plotly().Figure()
    for role, differing in pairs.items():
        comparisons = [pair.comparison for pair in differing]
        figure.add_scatter(
            x=[comparison.difference for comparison in comparisons],
            y=[f"{pair.model} minus {pair.other}" for pair in differing],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [c.high - c.difference for c in comparisons],
                "arrayminus": [c.difference - c.low for c in comparisons],
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
        raise MissingPackage("plotly", "report", "The page with charts") from None
    return graph_objects
