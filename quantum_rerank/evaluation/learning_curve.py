"""Gain of twice as many training queries, by trainings with a few numbers of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class GainOfDoubling:
    """Expected gain of twice as many training queries.

    Attributes:
        gain: Mean slope of the metric over log2(number of training queries).
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
    """

    gain: float
    low: float
    high: float


def gain_of_doubling(
    n_queries: Sequence[int],
    values: Sequence[Sequence[Mapping[str, float]]],
    domains: Mapping[str, str],
) -> GainOfDoubling:
    """Fit a line over log2(number of training queries) to each seed and test query.

    The gain is the mean slope, in which each domain counts the same. Its variance is the sum of
    that of the seeds' means, over seeds, and that of the queries' means, over queries. The noise
    of a query in a seed is counted twice, which errs on the wide side. The interval is that of
    Student's t with the degrees of freedom of Welch and Satterthwaite.

    That twice as many queries bring the mean slope assumes that the gain per doubling does not
    change. Learning curves flatten in the end: the gain is rather too high.

    Args:
        n_queries: Numbers of training queries, at least two.
        values: For each number, of each of at least two seeds: test query -> value of the metric.
        domains: Test query -> domain.

    >>> at = lambda *values: [{"a": value, "b": value} for value in values]
    >>> fitted = gain_of_doubling([10, 20], [at(0.1, 0.2), at(0.4, 0.3)], {"a": "", "b": ""})
    >>> round(fitted.gain, 2), round(fitted.low, 2), round(fitted.high, 2)
    (0.2, -1.07, 1.47)
    """
    queries = sorted(domains)
    measured = np.array([[[of[q] for q in queries] for of in seeds] for seeds in values])
    doublings = np.log2(n_queries)
    doublings -= doublings.mean()
    slopes = np.tensordot(doublings, measured, axes=1) / (doublings @ doublings)
    groups = _by_domain(slopes, [domains[query] for query in queries])
    of_seeds = np.mean([group.mean(axis=1) for group in groups], axis=0)
    variances = [_variance(of_seeds) / len(of_seeds), _variance_of_queries(groups)]
    freedom = [len(of_seeds) - 1, sum(group.shape[1] - 1 for group in groups)]
    gain, half = float(of_seeds.mean()), _half_width(variances, freedom)
    return GainOfDoubling(gain, gain - half, gain + half)


def _by_domain(slopes: FloatArray, domains: Sequence[str]) -> list[FloatArray]:
    """Split (seeds, queries) by domain, unless a domain has a single query."""
    groups = [slopes[:, np.array(domains) == domain] for domain in dict.fromkeys(domains)]
    return groups if min(group.shape[1] for group in groups) > 1 else [slopes]


def _variance(values: FloatArray) -> float:
    return float(np.var(values, ddof=1)) if len(values) > 1 else 0.0


def _variance_of_queries(groups: Sequence[FloatArray]) -> float:
    """Return the variance of the mean over domains, from the queries' means over seeds."""
    return fmean(_variance(group.mean(axis=0)) / group.shape[1] for group in groups) / len(groups)


def _half_width(variances: Sequence[float], freedom: Sequence[int]) -> float:
    from scipy.stats import t

    whole = sum(variances)
    if whole <= 0.0:
        return 0.0
    parts = zip(variances, freedom, strict=True)
    n_free = whole**2 / sum(variance**2 / n for variance, n in parts if n and variance)
    return float(t.ppf((1.0 + _CONFIDENCE) / 2.0, n_free)) * math.sqrt(whole)
