"""Charts of finished trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantum_rerank.evaluation import Comparison
from quantum_rerank.reports.page import Chart, Section, new_figure, plain, write_page
from quantum_rerank.reports.report import Report
from quantum_rerank.reports.runs import Group
from quantum_rerank.reports.tables import Paired


def write_report(path: Path, report: Report) -> None:
    """Write a report as a page with charts.

    Args:
        path: File to write.
        report: Tables of the report.

    Raises:
        OutputError: The file cannot be written.
        MissingPackage: plotly is not installed.
    """
    write_page(path, "Results of training", list(_sections(report)))


def _sections(report: Report) -> Iterator[Section]:
    if report.groups:
        yield Section(
            "Trainings",
            parts=[
                *report.overview,
                curves(report.groups, "train_loss", "Training loss"),
                curves(report.groups, "objective", "Best validation objective so far"),
                spread(report.groups),
            ],
        )
    for group in report.groups:
        title = f"{group.name}: models, paired over queries"
        chart = paired_chart(title, report.pairs[group.name])
        yield Section(group.name, parts=[chart, *report.by_group[group.name]])
    if report.searches:
        yield Section("Searches", parts=report.searches)


def curves(groups: Sequence[Group], key: str, title: str) -> Chart:
    """Return a chart with a line per model and training.

    Args:
        groups: Groups of trainings.
        key: Key of an epoch's report.
        title: Title of the chart.
    """
    figure = new_figure(title, "epoch", key)
    for group in groups:
        for run in group.runs:
            for model, history in run.record["history"].items():
                if len(history) < 2:  # cosine is not trained
                    continue
                figure.add_scatter(
                    x=[epoch["epoch"] for epoch in history],
                    y=[epoch[key] for epoch in history],
                    mode="lines",
                    name=plain(f"{model}, {group.name}, seed {run.seed}"),
                )
    return Chart(figure, f"{title}, by epoch: a line for each model and training.")


def spread(groups: Sequence[Group]) -> Chart:
    """Return a chart with a point per model and training: its validation objective."""
    figure = new_figure("Spread over seeds", "model", "validation objective")
    for group in groups:
        points = [
            (model, run.objective(model), run.seed) for run in group.runs for model in group.models
        ]
        figure.add_scatter(
            x=[plain(model) for model, _, _ in points],
            y=[value for _, value, _ in points],
            text=[f"seed {seed}" for _, _, seed in points],
            mode="markers",
            name=plain(group.name),
        )
    return Chart(figure, "Validation objective of every model: a point for each training.")


def paired_chart(title: str, pairs: Mapping[str, Sequence[Paired]]) -> Chart:
    """Return a chart of the differences between models.

    Args:
        title: Title of the chart.
        pairs: Role of queries -> differences.
    """
    named = {
        role: {f"{pair.model} minus {pair.other}": pair.comparison for pair in of_role}
        for role, of_role in pairs.items()
    }
    figure = differences(title, named)
    return Chart(figure, "Paired differences with 95 % intervals; right of 0 the first is better.")


def differences(title: str, comparisons: Mapping[str, Mapping[str, Comparison]]) -> Any:
    """Return a figure of differences with their intervals; at 0 two systems are equal.

    Args:
        title: Title of the figure.
        comparisons: Role of queries -> name of a difference -> difference.
    """
    figure = new_figure(title, "difference in NDCG@10, 95 % interval")
    for role, of_role in comparisons.items():
        figure.add_scatter(
            x=[one.difference for one in of_role.values()],
            y=[plain(name) for name in of_role],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.high - one.difference for one in of_role.values()],
                "arrayminus": [one.difference - one.low for one in of_role.values()],
            },
            mode="markers",
            name=plain(role),
        )
    figure.add_vline(x=0.0, line_dash="dot")
    figure.update_yaxes(automargin=True)
    return figure
