"""Paired comparison of two rankings over queries, with an interval and a test."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Comparison:
    """Mean difference of a metric over the same queries, system minus baseline.

    Attributes:
        difference: The mean difference.
        relative: The difference divided by the baseline's mean, NaN if that is 0.
        low: Lower end of the 95 % bootstrap interval of the difference (percentile, 2,000
            resamples).
        high: Upper end of the interval.
        p_value: Two-sided paired randomisation test (Smucker, Allan and Carterette, CIKM 2007),
            9,999 sign flips.
        n_queries: Queries that both systems have.
    """

    difference: float
    relative: float
    low: float
    high: float
    p_value: float
    n_queries: int


def compare(
    system: Mapping[str, float],
    baseline: Mapping[str, float],
    domains: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two sets of per-query values over the queries they share.

    Args:
        system: Query -> value.
        baseline: Query -> value.
        domains: Query -> domain. With it, each domain counts the same in the difference, its
            interval (resampled within domains) and its test; without it, each query does.
        seed: Seed of the resampling and of the sign flips.

    Raises:
        ValueError: The two systems share no query.
    """
    from scipy.stats import bootstrap, permutation_test

    by_domain = _shared_queries(system, baseline, domains)
    queries = [query for group in by_domain.values() for query in group]
    groups = [np.array([system[q] - baseline[q] for q in group]) for group in by_domain.values()]
    difference = _mean_of_means(*groups).item()
    base = fmean(fmean(baseline[q] for q in group) for group in by_domain.values())
    relative = difference / base if base else float("nan")
    # Weighted so that the plain mean of all is the mean of the domains' means.
    weighted = np.concatenate([g * (len(queries) / (len(groups) * len(g))) for g in groups])
    if len(queries) < 2 or not weighted.any():
        return Comparison(
            difference=difference,
            relative=relative,
            low=difference,
            high=difference,
            p_value=1.0,
            n_queries=len(queries),
        )
    rng = np.random.default_rng(seed)
    test = permutation_test(
        (weighted,), np.mean, permutation_type="samples", n_resamples=9999, rng=rng
    )
    resampled = groups if min(map(len, groups)) > 1 else [weighted]
    interval = bootstrap(
        resampled, _mean_of_means, n_resamples=2000, method="percentile", rng=rng
    ).confidence_interval
    return Comparison(
        difference=difference,
        relative=relative,
        low=float(interval.low),
        high=float(interval.high),
        p_value=float(test.pvalue),
        n_queries=len(queries),
    )


def paired_standard_error(
    system: Mapping[str, float],
    baseline: Mapping[str, float],
    domains: Mapping[str, str] | None = None,
) -> float:
    """Return the standard error of the mean difference of two sets of per-query values.

    Each domain counts the same: sqrt(sum over d domains of variance / queries) / d.

    Args:
        system: Query -> value.
        baseline: Query -> value.
        domains: Query -> domain; without it there is one.

    Returns:
        The standard error; infinite if a domain has a single query.

    Raises:
        ValueError: The two systems share no query.

    >>> round(paired_standard_error({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0}), 4)
    0.5
    """
    groups = _shared_queries(system, baseline, domains).values()
    if min(map(len, groups)) < 2:
        return math.inf
    variances = [
        np.var([system[q] - baseline[q] for q in group], ddof=1) / len(group) for group in groups
    ]
    return math.sqrt(sum(variances)) / len(variances)


def _shared_queries(
    system: Mapping[str, float], baseline: Mapping[str, float], domains: Mapping[str, str] | None
) -> dict[str, list[str]]:
    """Return domain -> queries that both systems have."""
    queries = sorted(system.keys() & baseline.keys())
    if not queries:
        raise ValueError("The two systems share no query.")
    by_domain: dict[str, list[str]] = defaultdict(list)
    for query in queries:
        by_domain[(domains or {}).get(query, "")].append(query)
    return by_domain


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests for multiple comparisons.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6, 1979: of m, the smallest times m, the next times m - 1, ..., none below a smaller.

    Args:
        p_values: P-values of the single tests.

    Returns:
        Adjusted p-values in the same order.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    rising = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, position in enumerate(rising):
        least = max(least, min((len(p_values) - rank) * p_values[position], 1.0))
        adjusted[position] = least
    return adjusted


def _mean_of_means(*groups: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.mean([group.mean(axis=axis) for group in groups], axis=0)
    return means
