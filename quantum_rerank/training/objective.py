"""Arithmetic of the validation objective: its means, its standard error, and what both permit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from quantum_rerank.evaluation.ranking import FloatArray


@dataclass(frozen=True)
class Roles:
    """Means and standard errors over validation queries; each domain of a role counts the same.

    Attributes:
        n_in_domain: Number of domains that are trained on. The values of these come first, then
            those of other domains, if there are any.
    """

    n_in_domain: int

    def means(self, values: Sequence[FloatArray]) -> dict[str, float]:
        """Return role -> the mean over its domains of the means over queries.

        Args:
            values: (q,) values of a metric, for each domain.
        """
        means = [float(of_queries.mean()) for of_queries in values]
        seen, unseen = means[: self.n_in_domain], means[self.n_in_domain :]
        return {"seen": fmean(seen)} | ({"unseen": fmean(unseen)} if unseen else {})

    def standard_error(self, left: Sequence[FloatArray], right: Sequence[FloatArray]) -> float:
        """Return the standard error of the difference of two scores, in which roles count alike.

        The variance of a domain of a single query is that of all queries of its role. The error
        is infinite where a role has a single query.

        Args:
            left: (q,) values of a metric, for each domain.
            right: Those of another score.
        """
        differences = [ours - theirs for ours, theirs in zip(left, right, strict=True)]
        seen, unseen = differences[: self.n_in_domain], differences[self.n_in_domain :]
        of_roles = [_variance_of_mean(role) for role in (seen, unseen) if role]
        return math.sqrt(sum(of_roles)) / len(of_roles)


def _variance_of_mean(domains: Sequence[FloatArray]) -> float:
    """Return the variance of the mean over domains of the means over queries."""
    pooled = _variance(np.concatenate(domains))
    variances = [
        (_variance(values) if len(values) > 1 else pooled) / len(values) for values in domains
    ]
    return sum(variances) / len(domains) ** 2


def _variance(values: FloatArray) -> float:
    return float(np.var(values, ddof=1)) if len(values) > 1 else math.inf


def penalise_losses(roles: Mapping[str, float], cosine: Mapping[str, float]) -> float:
    """Return the mean over roles in which losses relative to cosine are penalised twice.

    A plain mean would reward a large gain on the domains that are trained on at the cost of a
    loss on the others.

    Args:
        roles: Role -> value of the metric.
        cosine: Role -> value of the metric for plain cosine.

    >>> round(penalise_losses({"seen": 0.60, "unseen": 0.36}, {"seen": 0.50, "unseen": 0.40}), 4)
    0.46
    """
    return fmean(value - max(cosine[role] - value, 0.0) for role, value in roles.items())


def mean_choice(
    choices: Sequence[float],
    values: Sequence[Sequence[FloatArray]],
    roles: Roles,
    cosine: Mapping[str, float],
    prior: tuple[float, float],
) -> float:
    """Return the mean of several choices, each weighted by its likelihood and its prior.

    The choice with the highest objective would be fitted to the noise of few queries. The
    likelihood of a choice is exp(-z**2 / 2), where z is its loss against the highest objective
    in paired standard errors.

    Args:
        choices: Choices, such as weights.
        values: For each choice, the (q,) values of the metric for each domain.
        roles: Roles of the domains.
        cosine: Role -> value of the metric for plain cosine.
        prior: Mean and standard deviation of a normal prior of the choices.
    """
    objectives = [penalise_losses(roles.means(of_choice), cosine) for of_choice in values]
    best = int(np.argmax(objectives))
    weights = [
        likelihood(objectives[best] - objective, roles.standard_error(of_choice, values[best]))
        * likelihood(abs(choice - prior[0]), prior[1])
        for choice, of_choice, objective in zip(choices, values, objectives, strict=True)
    ]
    return float(np.average(choices, weights=weights))


def likelihood(loss: float, standard_error: float) -> float:
    """Return how likely a choice is, relative to one without a loss: exp(-z**2 / 2).

    Args:
        loss: Its mean loss against the one that seems best.
        standard_error: Standard error of the loss; z is the loss divided by it.

    >>> likelihood(0.0, 0.0), round(likelihood(0.02, 0.01), 3)
    (1.0, 0.135)
    """
    if loss <= 0.0:
        return 1.0
    return math.exp(-((loss / standard_error) ** 2) / 2.0) if standard_error else 0.0


def lead_share(lead: float, standard_error: float) -> float:
    """Return the share of a measured lead that is expected to hold on other queries.

    It is 1 - (standard error / lead)**2, or 0 for a lead of less than a standard error: the
    positive part of the estimator of James and Stein, "Estimation with Quadratic Loss", Berkeley
    Symposium 1961, for a single value.

    Args:
        lead: Mean lead over queries.
        standard_error: Standard error of the lead.

    >>> lead_share(0.01, 0.02), lead_share(0.04, 0.02), lead_share(0.01, 0.0)
    (0.0, 0.75, 1.0)
    """
    return 0.0 if lead <= standard_error else 1.0 - (standard_error / lead) ** 2
