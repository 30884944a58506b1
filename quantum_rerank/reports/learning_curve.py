"""Report of a learning curve: its table, its sentences and its chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from quantum_rerank.evaluation import COSINE
from quantum_rerank.reports.page import Chart, Section, new_figure, plain, write_page
from quantum_rerank.reports.tabular import Tabular
from quantum_rerank.training.learning_curve import LearningCurve, scores_by_role
from quantum_rerank.training.models import MeasuredModel


def curve_table(curve: LearningCurve) -> Tabular:
    """Return the means over seeds by number of training queries, beside the baselines."""
    roles = list(scores_by_role(curve.points[0].measured))
    rows = [
        (name, "", *(f"{scores_by_role(measured)[role]:.4f}" for role in roles), "")
        for name, measured in named_baselines(curve).items()
    ]
    for size in curve.sizes:
        models = curve.of_size(size)
        kept = sum(measured.validation.fusion_weight > 0.0 for measured in models)
        scores = [f"{mean_of(models, role):.4f}" for role in roles]
        rows.append((curve.config.model, str(size), *scores, f"{kept} of {len(models)}"))
    columns = ("system", "training queries", *roles, "weight above 0")
    return Tabular("NDCG@10 by training queries, means over seeds", columns, tuple(rows))


def named_baselines(curve: LearningCurve) -> dict[str, MeasuredModel]:
    """Return the baselines under the names that a report gives them."""
    return {COSINE: curve.baselines[COSINE], "BM25 + cosine": curve.baselines[curve.first_stage]}


def mean_of(models: Sequence[MeasuredModel], role: str) -> float:
    """Return the mean NDCG@10 of models on the queries of a role."""
    return fmean(scores_by_role(measured)[role] for measured in models)


def curve_sentences(curve: LearningCurve) -> list[str]:
    """Say what the labels bring, and what twice as many would be expected to bring."""
    n_queries, lines = curve.sizes[-1], list[str]()
    for role in curve.prepared.test_roles:
        lead, gain = curve.lead(role), curve.gain(role)
        lines.append(
            f"{role}: with all {n_queries} training queries {curve.config.model} is "
            f"{lead.difference:+.4f} from BM25 + cosine (95 % interval {lead.low:+.4f} to "
            f"{lead.high:+.4f} over {lead.n_queries} queries)."
        )
        expected = (
            f"{role}: twice as many ({2 * n_queries}) would be expected to bring {gain.gain:+.4f} "
            f"(95 % interval {gain.low:+.4f} to {gain.high:+.4f}), if the next doubling brings as "
            "much as the last two"
        )
        is_certain = gain.low > 0.0
        lines.append(f"{expected}." if is_certain else f"{expected}. That may be noise.")
    return lines


def write_curve_page(path: Path, curve: LearningCurve) -> None:
    """Write the table, the sentences and a chart as a page.

    Raises:
        OutputError: The file cannot be written.
        MissingPackage: plotly is not installed.
    """
    charts = [_chart(curve, role) for role in scores_by_role(curve.points[0].measured)]
    sections = [
        Section("What the labels bring", curve_sentences(curve), is_finding=True),
        Section("By training queries", parts=[curve_table(curve), *charts]),
    ]
    write_page(path, "Learning curve", sections)


def _chart(curve: LearningCurve, role: str) -> Chart:
    """Return the mean, the single trainings and the baselines on the queries of a role."""
    figure = new_figure(f"{role} queries", "training queries", "NDCG@10")
    means = [mean_of(curve.of_size(size), role) for size in curve.sizes]
    figure.add_scatter(x=curve.sizes, y=means, mode="lines", name=plain(curve.config.model))
    figure.add_scatter(
        x=[point.n_queries for point in curve.points],
        y=[scores_by_role(point.measured)[role] for point in curve.points],
        text=[f"seed {point.seed}" for point in curve.points],
        mode="markers",
        name="trainings",
    )
    for name, measured in named_baselines(curve).items():
        level = scores_by_role(measured)[role]
        ends = [curve.sizes[0], curve.sizes[-1]]
        figure.add_scatter(x=ends, y=[level, level], mode="lines", name=name, line_dash="dot")
    figure.update_xaxes(type="log", tickvals=curve.sizes)
    return Chart(figure, f"NDCG@10 on {role} queries by training queries, beside the baselines.")
