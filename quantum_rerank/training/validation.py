"""Validation of a model: the weights of its score are fitted and its metrics are measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from quantum_rerank.evaluation import METRICS, NDCG
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import Candidates, FloatArray
from quantum_rerank.similarity import FUSION_GRID, Head, LexicalPart, NearestGate, ScoreParts

SPREAD, GATE_HIGH, LEXICAL_WEIGHT = "val_affinity_spread", "gate_high", "lexical_weight"


@dataclass(frozen=True)
class Validation:
    """Metrics of a model on validation queries, at the best fusion weight there.

    Attributes:
        objective: Mean of the metric on in-domain and on out-of-domain queries (in-domain alone
            if no domain is held out), each the mean over its domains. Losses relative to
            cosine are penalised twice, see `penalise_losses`.
        fusion_weight: The weight with the highest objective.
        metrics: `val_seen_ndcg@10` and the like; SPREAD, the standard deviation of the
            affinities over a query's candidates, averaged over all queries; GATE_HIGH and
            LEXICAL_WEIGHT if the model has a gate and a lexical part.
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
    """Fits the weights of a score on validation queries and measures the model.

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
        """Measure a head, and fit its lexical weights and its gate, if it has them.

        The objective is never below that of plain cosine, because a weight of 0 is among the
        choices.
        """
        affinities = [candidates.affinities(head) for candidates in self._candidates]
        if head.lexical is not None:
            self._fit_lexical_weights(head.lexical, affinities)
        if head.gate is not None:
            self._fit_gate(head.gate, head, affinities)
        parts = self._parts(head, affinities)
        fitted = self._fitted(parts)
        if head.lexical is not None and fitted.objective < self._objective_of(self._cosine):
            head.lexical.weight.fill_(0.0)
            head.lexical.weight_alone.fill_(0.0)
            fitted = self._fitted(self._parts(head, affinities))
        metrics = {**fitted.metrics, SPREAD: _spread(affinities)}
        if head.lexical is not None:
            metrics[LEXICAL_WEIGHT] = float(head.lexical.weight)
        if head.gate is not None:
            metrics[GATE_HIGH] = float(head.gate.high)
        return replace(fitted, metrics=metrics)

    def of(
        self, affinities: Sequence[FloatArray], weights: Sequence[float] = FUSION_GRID
    ) -> Validation:
        """Measure affinities beside the cosine.

        Args:
            affinities: (q, k) for each query set, the in-domain ones first.
            weights: Fusion weights to choose from.

        Returns:
            The metrics at the weight with the highest objective.
        """
        validation = self._fitted(self._beside_cosine(affinities), weights)
        return replace(validation, metrics={**validation.metrics, SPREAD: _spread(affinities)})

    def _fit_lexical_weights(self, part: LexicalPart, affinities: Sequence[FloatArray]) -> None:
        """Set the lexical weight of the first stage alone, and that beside the affinities."""
        part.weight_alone.fill_(self._weight_alone)
        pairs = zip(self._first_stage(self._weight_alone), affinities, strict=True)
        fitted = self._fitted([ScoreParts(*pair) for pair in pairs], metrics=())
        part.weight.fill_(self._lexical_weight(affinities, fitted.fusion_weight))

    def _fit_gate(self, gate: NearestGate, head: Head, affinities: Sequence[FloatArray]) -> None:
        """Set the nearness from which on a query keeps the whole weight; 0 stands for no gate.

        That of a loaded model, which has no values to choose from, is left as it is.
        """
        if not gate.levels:
            return
        objectives = {}
        for high in (0.0, *gate.levels):
            gate.high.fill_(high)
            objectives[high] = self._fitted(self._parts(head, affinities), metrics=()).objective
        gate.high.fill_(max(objectives, key=lambda high: objectives[high]))

    def _lexical_weight(self, affinities: Sequence[FloatArray], fusion_weight: float) -> float:
        """Return the mean of the lexical weights that are within a standard error of the best.

        The best itself would be fitted to the noise of few queries.

        Args:
            affinities: (q, k) for each query set.
            fusion_weight: Weight of the affinities; 0 for the first stage alone.
        """
        values = []
        for weight in FUSION_GRID:
            pairs = zip(self._first_stage(weight), affinities, strict=True)
            values.append(self._values([ScoreParts(*pair) for pair in pairs], fusion_weight))
        objectives = [self._objective_of(self._roles(of_weight)) for of_weight in values]
        best = int(np.argmax(objectives))
        return fmean(
            weight
            for weight, of_weight, objective in zip(FUSION_GRID, values, objectives, strict=True)
            if objectives[best] - objective <= self._standard_error(of_weight, values[best])
        )

    @cached_property
    def _weight_alone(self) -> float:
        """Weight of the lexical score beside the cosine, without a model.

        It is that of the domains that are not trained on, if there are any: a gate leaves far
        queries to it.
        """
        unseen = self._candidates[self._n_in_domain :] or self._candidates
        validator = Validator([candidates.queries for candidates in unseen], (), self._objective)
        return validator._lexical_weight(validator._lexical, 0.0)

    @property
    def _lexical(self) -> list[FloatArray]:
        lexical = [candidates.queries.lexical for candidates in self._candidates]
        return [scores for scores in lexical if scores is not None]

    def _first_stage(self, lexical_weight: float) -> list[FloatArray]:
        """Return the first-stage scores at a lexical weight, (q, k) for each query set."""
        return [parts.fused(lexical_weight) for parts in self._beside_cosine(self._lexical)]

    @cached_property
    def _cosine(self) -> dict[str, float]:
        """Role -> objective of the cosine."""
        nothing = [np.zeros(candidates.queries.cosine.shape) for candidates in self._candidates]
        return self._roles(self._values(self._beside_cosine(nothing), 0.0))

    def _parts(self, head: Head, affinities: Sequence[FloatArray]) -> list[ScoreParts]:
        pairs = zip(self._candidates, affinities, strict=True)
        return [candidates.parts(head, affinity) for candidates, affinity in pairs]

    def _beside_cosine(self, affinities: Sequence[FloatArray]) -> list[ScoreParts]:
        pairs = zip(self._candidates, affinities, strict=True)
        return [candidates.beside_cosine(affinity) for candidates, affinity in pairs]

    def _fitted(
        self,
        parts: Sequence[ScoreParts],
        weights: Sequence[float] = FUSION_GRID,
        metrics: Sequence[str] = METRICS,
    ) -> Validation:
        """Fit the fusion weight, and measure metrics at it."""
        objectives = [
            self._objective_of(self._roles(self._values(parts, weight))) for weight in weights
        ]
        best = int(np.argmax(objectives))
        measured = {}
        for metric in metrics:
            roles = self._roles(self._values(parts, weights[best], metric))
            measured[f"val_{metric}"] = fmean(roles.values())
            measured |= {f"val_{role}_{metric}": value for role, value in roles.items()}
        return Validation(objectives[best], weights[best], measured)

    def _objective_of(self, roles: Mapping[str, float]) -> float:
        return penalise_losses(roles, self._cosine)

    def _values(
        self, parts: Sequence[ScoreParts], weight: float, metric: str = ""
    ) -> list[FloatArray]:
        """Return a metric of every query, by default the objective's: (q,) for each query set."""
        name = metric or self._objective
        return [
            candidates.values(each.fused(weight), (name,))[name]
            for candidates, each in zip(self._candidates, parts, strict=True)
        ]

    def _roles(self, values: Sequence[FloatArray]) -> dict[str, float]:
        """Return role -> the mean over its domains of the means over queries."""
        means = [float(of_queries.mean()) for of_queries in values]
        seen, unseen = means[: self._n_in_domain], means[self._n_in_domain :]
        return {"seen": fmean(seen)} | ({"unseen": fmean(unseen)} if unseen else {})

    def _standard_error(self, left: Sequence[FloatArray], right: Sequence[FloatArray]) -> float:
        """Return the standard error of the difference of two scores, in which roles count alike.

        It is infinite if a domain has a single query.
        """
        variances = [
            float(np.var(ours - theirs, ddof=1)) / len(ours) if len(ours) > 1 else math.inf
            for ours, theirs in zip(left, right, strict=True)
        ]
        seen, unseen = variances[: self._n_in_domain], variances[self._n_in_domain :]
        of_roles = [sum(role) / len(role) ** 2 for role in (seen, unseen) if role]
        return math.sqrt(sum(of_roles)) / len(of_roles)


def _spread(affinities: Sequence[FloatArray]) -> float:
    """Return the standard deviation over a query's candidates, averaged over all queries."""
    return fmean(float(values.std(axis=1).mean()) for values in affinities)


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
