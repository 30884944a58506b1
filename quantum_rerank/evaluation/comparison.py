"""Is one ranking better than another? Paired over queries, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """Mean of a metric's differences over the same queries, system minus baseline.

    relative: difference over the baseline's mean.
    low, high: 95 % bootstrap interval of the difference (percentile, 2,000 resamples).
    p_value: two-sided paired randomisation test (Smucker, Allan and Carterette,
        CIKM 2007), 9,999 sign flips.
    """

    difference: float
    relative: float
    low: float
    high: float
    p_value: float
    n_queries: int


def compare(
    system: Mapping[str, float], baseline: Mapping[str, float], seed: int = 0
) -> Comparison:
    """Compare two sets of per-query values over the queries they share."""
    from scipy.stats import bootstrap, permutation_test

    queries = sorted(system.keys() & baseline.keys())
    if not queries:
        raise ValueError("The two systems share no query.")
    left = np.array([system[query] for query in queries])
    right = np.array([baseline[query] for query in queries])
    differences = left - right
    mean = float(differences.mean())
    base = float(right.mean())
    relative = mean / base if base else float("nan")
    if len(queries) < 2 or not differences.any():
        return Comparison(mean, relative, mean, mean, 1.0, len(queries))
    rng = np.random.default_rng(seed)
    test = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, rng=rng
    )
    interval = bootstrap(
        (differences,), np.mean, n_resamples=2000, method="percentile", rng=rng
    ).confidence_interval
    return Comparison(
        mean, relative, float(interval.low), float(interval.high), float(test.pvalue), len(queries)
    )
