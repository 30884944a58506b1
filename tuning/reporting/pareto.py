"""Pareto front of a search as a page that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.atomic import write_text
from quantum_rerank.errors import MissingPackage
from tuning.conclusion.outcome import Outcome
from tuning.study.ranking import cost, front
from tuning.workers.cost import UNITS

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def draw_front(outcome: Outcome, path: Path) -> None:
    """Draw every complete trial by objective and cost; nothing in a search without a cost.

    Where only the package to draw with is missing, a note says so.

    Args:
        outcome: Outcome of the search.
        path: File to write.
    """
    cost_name = outcome.space.header.objective.cost
    weighed = [trial for trial in outcome.trials if cost(trial) is not None]
    if cost_name is None or not weighed:
        return
    try:
        figure = _figure(weighed, UNITS[cost_name], outcome.space.header.objective.metric)
    except MissingPackage as error:
        outcome.notes.append(f"{path.name} was not drawn: {error}")
        return
    write_text(path, figure.to_html(include_plotlyjs=True))  # within the file: it opens offline


def _figure(trials: Sequence[FrozenTrial], unit: str, metric: str) -> Any:
    try:
        from plotly import graph_objects
    except ImportError:
        raise MissingPackage("plotly", "report", "The drawing of a Pareto front") from None

    best = front(trials)
    on_front = {trial.number for trial in best}
    dominated = [trial for trial in trials if trial.number not in on_front]
    figure = graph_objects.Figure(
        [
            graph_objects.Scatter(name="Pareto front", mode="lines+markers", **_points(best)),
            graph_objects.Scatter(name="other trials", mode="markers", **_points(dominated)),
        ]
    )
    figure.update_traces(selector=0, line_shape="hv")
    figure.update_layout(
        title="Quality against cost", xaxis_title=unit, yaxis_title=f"{metric} on validation"
    )
    return figure


def _points(trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the coordinates of trials, and the text that is shown beside the pointer."""
    texts = [
        "<br>".join([f"trial {t.number}", *(f"{key} {value}" for key, value in t.params.items())])
        for t in trials
    ]
    return {
        "x": [trial.values[1] for trial in trials],
        "y": [trial.values[0] for trial in trials],
        "text": texts,
        "hovertemplate": "%{text}<br>%{x}, %{y:.4f}<extra></extra>",
    }
