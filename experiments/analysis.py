"""Analysis of results: means, spreads, and differences paired over queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from experiments.plan import DEFAULT, FIXED, TUNED, TUNED_TWIN, TWIN
from experiments.results import Result, by_name, mean_over_domains
from quantum_rerank.evaluation import COSINE, NDCG, Comparison, Scores, holm
from quantum_rerank.evaluation.measurements import SeedGains
from quantum_rerank.evaluation.targets import TargetResult, read_target_records, stability

CLASSICAL = (
    TUNED_TWIN,
    TWIN,
    "rbf",
    "linear_projection",
    "low_rank_bilinear",
    "bm25",
    "bm25_cosine",
    "first_stage",
)
"""The models without a quantum state, except cosine."""

Measured = Mapping[str, Mapping[str, Mapping[int, Scores]]]
"""Collection -> row -> seed -> scores, in the order of seeds. Failed trainings are missing."""


@dataclass(frozen=True)
class PairedDifference:
    """One row minus another on one collection.

    Attributes:
        collection: The collection.
        comparison: The difference over queries, with its interval and p-value.
        p_holm: The p-value after Holm's correction over all collections.
        n_seeds: The number of seeds that both rows have.
    """

    collection: str
    comparison: Comparison
    p_holm: float
    n_seeds: int


Pairs = Mapping[tuple[str, str], Sequence[PairedDifference]]
"""(row, other row) -> the first minus the second by collection."""


def measured(results: Iterable[Result]) -> dict[str, dict[str, dict[int, Scores]]]:
    """Return the scores of results by collection, row and seed."""
    by_collection: dict[str, dict[str, dict[int, Scores]]] = {}
    for rows in by_name(results).values():
        for name, by_seed in rows.items():
            for result in by_seed:
                for collection, scores in result.scores.items():
                    row = by_collection.setdefault(collection, {}).setdefault(name, {})
                    row[result.seed] = scores
    return by_collection


def means(by_seed: Mapping[int, Scores]) -> list[float]:
    """Return the NDCG@10 of each seed."""
    return [scores.metrics[NDCG] for scores in by_seed.values()]


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation over seeds, or None for a single seed."""
    return stdev(values) if len(values) > 1 else None


def averaged(by_seed: Mapping[int, Scores]) -> Scores:
    """Return each query's mean over the seeds that tested on it.

    The NDCG@10 is the mean over domains of these. It differs from the mean over seeds of
    `means` where seeds test on different queries.
    """
    values: dict[str, list[float]] = {}
    domains: dict[str, str] = {}
    for scores in by_seed.values():
        domains |= scores.domains
        for query, value in scores.per_query[NDCG].items():
            values.setdefault(query, []).append(value)
    by_query = {query: fmean(of_seeds) for query, of_seeds in values.items()}
    return Scores({NDCG: mean_over_domains(by_query, domains)}, {NDCG: by_query}, domains)


def differences(measured: Measured, name: str, other: str) -> list[PairedDifference]:
    """Return one row minus another on each collection that both have.

    The interval and the test are over queries, each with its mean over the seeds that both
    rows have. They do not cover other seeds, whose spread is shown beside the means.
    """
    comparisons, n_seeds = dict[str, Comparison](), dict[str, int]()
    for collection, rows in measured.items():
        first, second = _shared_seeds(rows, name, other)
        if first:
            comparisons[collection] = averaged(first).against(averaged(second))
            n_seeds[collection] = len(first)
    corrected = holm([comparison.p_value for comparison in comparisons.values()])
    return [
        PairedDifference(collection, comparison, p_holm, n_seeds[collection])
        for (collection, comparison), p_holm in zip(comparisons.items(), corrected, strict=True)
    ]


def all_pairs(measured: Measured) -> dict[tuple[str, str], list[PairedDifference]]:
    """Return `tuned` minus every other row, and `default` and both twins minus cosine."""
    names = dict.fromkeys(name for rows in measured.values() for name in rows)
    pairs = [(TUNED, COSINE), (TUNED, DEFAULT), *((TUNED, name) for name in CLASSICAL)]
    pairs += [(TUNED, name) for name in names if name != TUNED]
    pairs += [(name, COSINE) for name in (DEFAULT, TUNED_TWIN, TWIN)]
    by_pair = {pair: differences(measured, *pair) for pair in dict.fromkeys(pairs)}
    return {pair: by_collection for pair, by_collection in by_pair.items() if by_collection}


def gains(measured: Measured, collection: str, name: str) -> list[float]:
    """Return the relative gain of each seed over cosine, as a fraction.

    The list is empty where either row was not measured.
    """
    row, cosine = _shared_seeds(measured.get(collection, {}), name, COSINE)
    pairs = zip(means(row), means(cosine), strict=True)
    return [value / baseline - 1.0 for value, baseline in pairs if baseline]


def targets(results: Iterable[Result], name: str) -> dict[str, dict[str, list[TargetResult]]]:
    """Return data set -> target -> the outcome of each seed of one row.

    Stability has one outcome over all seeds.
    """
    return {
        dataset: _targets(rows[name]) for dataset, rows in by_name(results).items() if name in rows
    }


def _targets(by_seed: Sequence[Result]) -> dict[str, list[TargetResult]]:
    by_target: dict[str, list[TargetResult]] = {}
    for result in by_seed:
        for outcome in read_target_records(result.record["targets"]):
            by_target.setdefault(outcome.name, []).append(outcome)
    # Each above its own cosine, which differs where seeds draw their own split.
    gains = (result.record["objective"] - result.record["cosine_objective"] for result in by_seed)
    over_seeds = stability(SeedGains(tuple(gains)))
    return by_target | {over_seeds.name: [over_seeds]}


def _shared_seeds(
    rows: Mapping[str, Mapping[int, Scores]], name: str, other: str
) -> tuple[dict[int, Scores], dict[int, Scores]]:
    """Return the scores of two rows at the seeds that both have."""
    first = _repeated(name, rows.get(name, {}), rows.get(other, {}))
    second = _repeated(other, rows.get(other, {}), rows.get(name, {}))
    seeds = [seed for seed in first if seed in second]
    return {seed: first[seed] for seed in seeds}, {seed: second[seed] for seed in seeds}


def _repeated(
    name: str, row: Mapping[int, Scores], other: Mapping[int, Scores]
) -> Mapping[int, Scores]:
    """Return the scores of a row at each seed of another row.

    A row without randomness that was measured once has the same scores at every seed with the
    same split.
    """
    if name not in FIXED or len(row) != 1:
        return row
    (once,) = row.values()
    return {
        seed: once for seed, scores in other.items() if scores.domains.keys() == once.domains.keys()
    }
