"""Tables of the scores of several systems, with paired comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from quantum_rerank.evaluation.comparison import Comparison, compare
from quantum_rerank.evaluation.metrics import METRICS, NDCG

if TYPE_CHECKING:
    from rich.table import Table

COSINE = "cosine"


@dataclass(frozen=True)
class Scores:
    """Metrics of one system on one set of queries.

    Attributes:
        metrics: Name -> mean over domains of the mean over their queries.
        per_query: Name -> `domain/query id` -> value.
        domains: `domain/query id` -> domain.
    """

    metrics: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    domains: Mapping[str, str]

    def against(self, baseline: Scores) -> Comparison:
        """Compare NDCG@10 with another system, paired over queries; each domain counts the same."""
        return compare(self.per_query[NDCG], baseline.per_query[NDCG], self.domains)


def over_domains(
    domains: Sequence[str], measured: Sequence[Mapping[str, Mapping[str, float]]]
) -> Scores:
    """Combine the metrics of several domains; each domain counts the same.

    Args:
        domains: Names of the domains.
        measured: For each domain, metric -> query id -> value.
    """
    pairs = list(zip(domains, measured, strict=True))
    return Scores(
        metrics={
            metric: fmean(fmean(by_metric[metric].values()) for by_metric in measured)
            for metric in METRICS
        },
        per_query={
            metric: {
                f"{domain}/{query}": value
                for domain, by_metric in pairs
                for query, value in by_metric[metric].items()
            }
            for metric in METRICS
        },
        domains={
            f"{domain}/{query}": domain for domain, by_metric in pairs for query in by_metric[NDCG]
        },
    )


def leaderboard(role: str, systems: Mapping[str, Scores]) -> Table:
    """Return a table of systems, best NDCG@10 first, each compared with cosine.

    Args:
        role: Role of the queries, such as `test` or `unseen_test`.
        systems: Name -> scores. `cosine` must be among them.
    """
    from rich.table import Table

    table = Table(title=f"Leaderboard on {role} queries", title_justify="left", box=None)
    table.add_column("system", no_wrap=True)
    for metric in METRICS:
        table.add_column(metric.upper(), justify="right")
    table.add_column("vs cosine", justify="right")
    table.add_column("p", justify="right")
    best_first = sorted(systems.items(), key=lambda item: -item[1].metrics[NDCG])
    for name, scores in best_first:
        row = [f"{scores.metrics[metric]:.4f}" for metric in METRICS]
        if name == COSINE:
            table.add_row(name, *row, "", "")
            continue
        comparison = scores.against(systems[COSINE])
        gain = "-" if math.isnan(comparison.relative) else f"{comparison.relative:+.1%}"
        table.add_row(name, *row, gain, f"{comparison.p_value:.4f}")
    return table


def difference_table(
    name: str,
    system: Scores,
    baselines: Mapping[str, Scores],
    n_trained: Mapping[str, int] | None = None,
) -> Table:
    """Return a table of the differences between a system and others, with intervals.

    Args:
        name: Name of the system.
        system: Scores of the system.
        baselines: Name -> scores of the other systems.
        n_trained: Name -> number of trained parameters, shown if it is given.
    """
    from rich.table import Table

    comparisons = {other: system.against(scores) for other, scores in baselines.items()}
    n_queries = max((comparison.n_queries for comparison in comparisons.values()), default=0)
    table = Table(
        title=f"NDCG@10, paired over {n_queries} queries, one seed", title_justify="left", box=None
    )
    table.add_column(f"{name} minus", no_wrap=True)
    for column in ("difference", "95 % interval", "p"):
        table.add_column(column, justify="right")
    if n_trained:
        table.add_column("trained", justify="right")
        table.caption = f"{name} has {n_trained[name]:,} trained parameters"
    for other, comparison in comparisons.items():
        interval = f"{comparison.low:+.4f} to {comparison.high:+.4f}"
        row = [other, f"{comparison.difference:+.4f}", interval, f"{comparison.p_value:.4f}"]
        table.add_row(*row, *([f"{n_trained[other]:,}"] if n_trained else []))
    return table
