"""Validation of a model: its fusion weight is fitted and its metrics are measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from quantum_rerank.evaluation import METRICS, NDCG
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import Candidates, FloatArray
from quantum_rerank.similarity import FALLS, FUSION_GRID, Head

SPREAD, GATE_FALL = "val_affinity_spread", "gate_fall"


@dataclass(frozen=True)
class Validation:
    """Metrics of a model on validation queries, at the best fusion weight there.

    Attributes:
        objective: Mean of the metric on in-domain and on out-of-domain queries (in-domain alone
            if no domain is held out), each the mean over its domains. Losses relative to
            cosine are penalised twice, see `penalise_losses`.
        fusion_weight: The weight with the highest objective.
        metrics: `val_seen_ndcg@10` and the like; SPREAD, the standard deviation of the
            affinities over a query's candidates, averaged over all queries; GATE_FALL if the
            model has a gate.
    """

    objective: float
    fusion_weight: float
    metrics: dict[str, float]


def checked_validation(record: Mapping[str, Any]) -> Validation:
    """Return the validation that a file has.

    Raises:
        KeyError: A value is missing.
        TypeError: A value is not a number.
        ValueError: A number is not finite, or the fusion weight is not between 0 and 1.
    """
    validation = Validation(
        float(record["objective"]),
        float(record["fusion_weight"]),
        {str(name): float(value) for name, value in record["metrics"].items()},
    )
    if not 0.0 <= validation.fusion_weight <= 1.0:
        raise ValueError(f"the fusion weight is {validation.fusion_weight}, not between 0 and 1")
    if not math.isfinite(validation.objective):
        raise ValueError("the objective is not finite")
    return validation


class Validator:
    """Fits the fusion weight of a model on validation queries and measures the model.

    Args:
        in_domain: Query sets of the domains that are trained on.
        out_of_domain: Query sets of domains that are not trained on. May be empty.
        objective: The metric that is maximised.
    """

    def __init__(
        self,
        in_domain: Sequence[QuerySet],
        out_of_domain: Sequence[QuerySet],
        objective: str = NDCG,
    ) -> None:
        self._candidates = [Candidates(queries) for queries in (*in_domain, *out_of_domain)]
        self._n_in_domain = len(in_domain)
        self._objective = objective

    def __call__(self, head: Head) -> Validation:
        """Measure a head, and set the fall of its gate if it has one.

        The objective is never below that of plain cosine, because the fusion weight 0 and the
        fall 0 (no gate) are among the choices.
        """
        affinities = [candidates.bare_affinities(head) for candidates in self._candidates]
        ungated = self.of(affinities)
        if head.gate is None:
            return ungated
        best, best_fall = ungated, 0.0
        for fall in FALLS[1:]:
            head.gate.fall.fill_(fall)
            pairs = zip(self._candidates, affinities, strict=True)
            validation = self.of([candidates.gated(head, values) for candidates, values in pairs])
            if validation.objective > best.objective:
                best, best_fall = validation, fall
        head.gate.fall.fill_(best_fall)
        return replace(
            best, metrics={**best.metrics, SPREAD: ungated.metrics[SPREAD], GATE_FALL: best_fall}
        )

    def of(
        self, affinities: Sequence[FloatArray], weights: Sequence[float] = FUSION_GRID
    ) -> Validation:
        """Measure affinities.

        Args:
            affinities: (q, k) for each query set, the in-domain ones first.
            weights: Fusion weights to choose from.

        Returns:
            The metrics at the weight with the highest objective.
        """
        by_weight = {
            weight: self._by_role(affinities, weight, (self._objective,))[self._objective]
            for weight in dict.fromkeys((0.0, *weights))
        }
        cosine = by_weight[0.0]
        values = [penalise_losses(by_weight[weight], cosine) for weight in weights]
        best = int(np.argmax(values))
        metrics = {SPREAD: fmean(float(values.std(axis=1).mean()) for values in affinities)}
        for metric, roles in self._by_role(affinities, weights[best], METRICS).items():
            metrics[f"val_{metric}"] = fmean(roles.values())
            metrics |= {f"val_{role}_{metric}": value for role, value in roles.items()}
        return Validation(values[best], weights[best], metrics)

    def _by_role(
        self, affinities: Sequence[FloatArray], weight: float, metrics: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """Return metric -> role -> the mean over the role's domains."""
        means = [
            candidates.means(values, weight, metrics)
            for candidates, values in zip(self._candidates, affinities, strict=True)
        ]
        return {metric: self._role_means([mean[metric] for mean in means]) for metric in metrics}

    def _role_means(self, values: Sequence[float]) -> dict[str, float]:
        """Return role -> the mean of its domains' values."""
        seen, unseen = values[: self._n_in_domain], values[self._n_in_domain :]
        return {"seen": fmean(seen)} | ({"unseen": fmean(unseen)} if unseen else {})


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
