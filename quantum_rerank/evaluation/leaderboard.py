"""Results side by side: what each model scored, and what differs by more than chance."""

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

    metrics: name -> mean over domains of the mean over their queries.
    per_query: name -> `domain/query id` -> value.
    domains: `domain/query id` -> domain.
    """

    metrics: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    domains: Mapping[str, str]

    def against(self, baseline: Scores) -> Comparison:
        """This system minus another in NDCG@10, paired over the queries, domains counting equal."""
        return compare(self.per_query[NDCG], baseline.per_query[NDCG], self.domains)


def over_domains(
    domains: Sequence[str], measured: Sequence[Mapping[str, Mapping[str, float]]]
) -> Scores:
    """Gather metric -> query -> value of several domains; each domain counts the same."""
    return Scores(
        {metric: fmean(fmean(one[metric].values()) for one in measured) for metric in METRICS},
        {
            metric: {
                f"{domain}/{query}": value
                for domain, one in zip(domains, measured, strict=True)
                for query, value in one[metric].items()
            }
            for metric in METRICS
        },
        {
            f"{domain}/{query}": domain
            for domain, one in zip(domains, measured, strict=True)
            for query in one[NDCG]
        },
    )


def leaderboard(title: str, systems: Mapping[str, Scores]) -> Table:
    """A table of systems, best NDCG@10 first, each held against cosine."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
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
        found = scores.against(systems[COSINE])
        gain = "-" if math.isnan(found.relative) else f"{found.relative:+.1%}"
        table.add_row(name, *row, gain, f"{found.p_value:.4f}")
    return table


def difference_table(
    name: str,
    system: Scores,
    others: Mapping[str, Scores],
    n_trained: Mapping[str, int] | None = None,
) -> Table:
    """State each difference with its sign and interval, whichever way it falls.

    n_trained: system -> how many numbers were trained; beside each where it is given.
    """
    from rich.table import Table

    found = {other: system.against(scores) for other, scores in others.items()}
    n_queries = max((one.n_queries for one in found.values()), default=0)
    table = Table(
        title=f"NDCG@10, paired over {n_queries} queries, one seed", title_justify="left", box=None
    )
    table.add_column(f"{name} minus", no_wrap=True)
    for column in ("difference", "95 % interval", "p"):
        table.add_column(column, justify="right")
    if n_trained:
        table.add_column("trained", justify="right")
        table.caption = f"{name} has {n_trained[name]:,} trained numbers"
    for other, one in found.items():
        interval = f"{one.low:+.4f} to {one.high:+.4f}"
        row = [other, f"{one.difference:+.4f}", interval, f"{one.p_value:.4f}"]
        table.add_row(*row, *([f"{n_trained[other]:,}"] if n_trained else []))
    return table
