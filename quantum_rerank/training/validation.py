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
from quantum_rerank.training.objective import Roles, lead_share, mean_choice, penalise_losses
from quantum_rerank.training.query_sets import select_queries

SPREAD, GATE_HIGH, LEXICAL_WEIGHT = "val_affinity_spread", "gate_high", "lexical_weight"

_PRIOR = (0.3, 0.35)  # of the lexical weight: mean and standard deviation, see docs/models.md
_MOST = 1000  # training queries of a domain that decide on a weight: more would not change it


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
        trained_on: Training queries of the domains, which decide on the lexical weight of the
            first stage alone as well.
    """

    def __init__(
        self,
        in_domain: Sequence[QuerySet],
        out_of_domain: Sequence[QuerySet],
        objective: str = NDCG,
        trained_on: Sequence[QuerySet] = (),
    ) -> None:
        self._candidates = [Candidates(queries) for queries in (*in_domain, *out_of_domain)]
        self._n_in_domain = len(in_domain)
        self._roles = Roles(len(in_domain))
        self._objective = objective
        self._trained_on = trained_on

    def __call__(self, head: Head) -> Validation:
        """Measure a head, and fit its lexical weights and its gate, if it has them.

        The weights are those with the highest objective, drawn towards the first stage alone as
        far as validation cannot tell the two apart, see `lead_share`. Where that is below the
        cosine, by more than a standard error if there is a lexical part, the score is the cosine.
        """
        affinities = [candidates.affinities(head) for candidates in self._candidates]
        if head.lexical is not None:
            self._fit_lexical_weights(head.lexical, affinities)
        if head.gate is not None:
            self._fit_gate(head.gate, head, affinities)
        fitted, lexical_weight = self._cautious(head, affinities)
        if head.lexical is not None:
            head.lexical.weight.fill_(lexical_weight)
        if self._is_below_cosine(head, affinities, fitted):
            if head.lexical is not None:
                head.lexical.weight.fill_(0.0)
                head.lexical.weight_alone.fill_(0.0)
            fitted = self._fitted(self._parts(head, affinities), (0.0,))
        metrics = {**fitted.metrics, SPREAD: _spread(affinities)}
        if head.lexical is not None:
            metrics[LEXICAL_WEIGHT] = float(head.lexical.weight)
        if head.gate is not None:
            metrics[GATE_HIGH] = float(head.gate.high)
        return replace(fitted, metrics=metrics)

    def _cautious(
        self, head: Head, affinities: Sequence[FloatArray], metrics: Sequence[str] = METRICS
    ) -> tuple[Validation, float]:
        """Fit the fusion weight; draw it and the lexical weight towards the first stage alone.

        Returns:
            The validation, and the lexical weight beside the affinities, which is not set.
        """
        parts = self._parts(head, affinities)
        fitted = self._fitted(parts, metrics=())
        alone, beside = 0.0, 0.0
        if head.lexical is not None:
            alone, beside = float(head.lexical.weight_alone), float(head.lexical.weight)
        model, first = self._values(parts, fitted.fusion_weight), self._values_alone(alone)
        lead = fitted.objective - self._objective_of(self._roles.means(first))
        share = lead_share(lead, self._roles.standard_error(model, first))
        drawn = alone + share * (beside - alone)
        if head.lexical is not None:
            head.lexical.weight.fill_(drawn)
            parts = self._parts(head, affinities)
            head.lexical.weight.fill_(beside)
        return self._fitted(parts, (share * fitted.fusion_weight,), metrics), drawn

    def _is_below_cosine(
        self, head: Head, affinities: Sequence[FloatArray], fitted: Validation
    ) -> bool:
        behind = self._objective_of(self._cosine) - fitted.objective
        if behind <= 0.0 or head.lexical is None:
            return behind > 0.0
        model = self._values(self._parts(head, affinities), fitted.fusion_weight)
        return behind > self._roles.standard_error(model, self._values_alone(0.0))

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
            objectives[high] = self._cautious(head, affinities, metrics=())[0].objective
        gate.high.fill_(max(objectives, key=lambda high: objectives[high]))

    def _lexical_weight(self, affinities: Sequence[FloatArray], fusion_weight: float) -> float:
        """Return the mean of the lexical weights, see `mean_choice`.

        Args:
            affinities: (q, k) for each query set.
            fusion_weight: Weight of the affinities; 0 for the first stage alone.
        """
        values = []
        for weight in FUSION_GRID:
            pairs = zip(self._first_stage(weight), affinities, strict=True)
            values.append(self._values([ScoreParts(*pair) for pair in pairs], fusion_weight))
        return mean_choice(FUSION_GRID, values, self._roles, self._cosine, _PRIOR)

    @cached_property
    def _weight_alone(self) -> float:
        """Weight of the lexical score beside the cosine, without a model.

        It is that of the domains that are not trained on, if there are any: a gate leaves far
        queries to it. Otherwise it is that of training and validation queries: a score that
        nothing was trained for may be fitted to either.
        """
        by_domain: dict[str, list[Candidates]] = {}
        for candidates in self._candidates[self._n_in_domain :] or self._of_seen_domains():
            by_domain.setdefault(candidates.queries.domain, []).append(candidates)
        values = [
            [
                np.concatenate([self._of_first_stage(each, weight) for each in of_domain])
                for of_domain in by_domain.values()
            ]
            for weight in FUSION_GRID
        ]
        roles = Roles(len(by_domain))
        return mean_choice(FUSION_GRID, values, roles, roles.means(values[0]), _PRIOR)

    def _of_seen_domains(self) -> list[Candidates]:
        """Return the validation and training queries of the domains that are trained on."""
        trained = [select_queries(each, each.query_ids[:_MOST]) for each in self._trained_on]
        return [*self._candidates, *map(Candidates, trained)]

    def _of_first_stage(self, candidates: Candidates, lexical_weight: float) -> FloatArray:
        """Return the objective's metric of every query by cosine and lexical score alone, (q,)."""
        lexical = candidates.queries.lexical
        if lexical is None or not lexical_weight:
            lexical = np.zeros(candidates.queries.cosine.shape)
        scores = candidates.beside_cosine(lexical).fused(lexical_weight)
        return candidates.values(scores, (self._objective,))[self._objective]

    @property
    def _lexical(self) -> list[FloatArray]:
        lexical = [candidates.queries.lexical for candidates in self._candidates]
        return [scores for scores in lexical if scores is not None]

    def _first_stage(self, lexical_weight: float) -> list[FloatArray]:
        """Return the first-stage scores at a lexical weight, (q, k) for each query set."""
        return [parts.fused(lexical_weight) for parts in self._beside_cosine(self._lexical)]

    def _values_alone(self, lexical_weight: float) -> list[FloatArray]:
        """Return the objective's metric of every query by the first stage: (q,) for each set."""
        return [self._of_first_stage(candidates, lexical_weight) for candidates in self._candidates]

    @cached_property
    def _cosine(self) -> dict[str, float]:
        """Role -> objective of the cosine."""
        return self._roles.means(self._values_alone(0.0))

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
            self._objective_of(self._roles.means(self._values(parts, weight))) for weight in weights
        ]
        best = int(np.argmax(objectives))
        measured = {}
        for metric in metrics:
            roles = self._roles.means(self._values(parts, weights[best], metric))
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


def _spread(affinities: Sequence[FloatArray]) -> float:
    """Return the standard deviation over a query's candidates, averaged over all queries."""
    return fmean(float(values.std(axis=1).mean()) for values in affinities)
