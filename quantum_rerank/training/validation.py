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
from quantum_rerank.similarity import FALLS, FUSION_GRID, Head, fuse

SPREAD, GATE_FALL, LEXICAL_WEIGHT = "val_affinity_spread", "gate_fall", "lexical_weight"


@dataclass(frozen=True)
class Validation:
    """Metrics of a model on validation queries, at the best fusion weight there.

    Attributes:
        objective: Mean of the metric on in-domain and on out-of-domain queries (in-domain alone
            if no domain is held out), each the mean over its domains. Losses relative to
            cosine are penalised twice, see `penalise_losses`.
        fusion_weight: The weight with the highest objective.
        metrics: `val_seen_ndcg@10` and the like; SPREAD, the standard deviation of the
            affinities over a query's candidates, averaged over all queries; GATE_FALL and
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
        """Measure a head, and set its lexical weight and the fall of its gate, if it has them.

        The objective is never below that of plain cosine, because a weight of 0 and the fall 0
        (no gate) are among the choices.
        """
        affinities = [candidates.bare_affinities(head) for candidates in self._candidates]
        fitted = self._with_lexical_weight(head, affinities)
        if head.gate is not None:
            fitted = self._with_fall(head, affinities, fitted)
        return fitted

    def of(
        self,
        affinities: Sequence[FloatArray],
        weights: Sequence[float] = FUSION_GRID,
        head: Head | None = None,
    ) -> Validation:
        """Measure affinities.

        Args:
            affinities: (q, k) for each query set, the in-domain ones first.
            weights: Fusion weights to choose from.
            head: Head of the first-stage score; None for the cosine.

        Returns:
            The metrics at the weight with the highest objective.
        """
        values = [self._objective_at(affinities, weight, head) for weight in weights]
        best = int(np.argmax(values))
        metrics = {SPREAD: fmean(float(values.std(axis=1).mean()) for values in affinities)}
        for metric, roles in self._by_role(affinities, weights[best], METRICS, head).items():
            metrics[f"val_{metric}"] = fmean(roles.values())
            metrics |= {f"val_{role}_{metric}": value for role, value in roles.items()}
        return Validation(values[best], weights[best], metrics)

    def _with_lexical_weight(self, head: Head, affinities: Sequence[FloatArray]) -> Validation:
        """Fit the fusion weight, and the lexical weight of a head that has one.

        The lexical weight is that of the first stage alone, which depends on no training. Both
        are fitted together only if that is better by more than a standard error: with few
        queries, two free weights are fitted to their noise.
        """
        if head.lexical is None:
            return self.of(affinities)
        head.lexical.weight.fill_(self._first_stage_weight)
        fitted = self.of(affinities, head=head)
        values = self._values(affinities, fitted.fusion_weight, head)
        together, lexical_weight = self._fitted_together(head, affinities, fitted.fusion_weight)
        head.lexical.weight.fill_(lexical_weight)
        error = self._standard_error(values, self._values(affinities, together.fusion_weight, head))
        if together.objective - fitted.objective > error:
            fitted = together
        else:
            head.lexical.weight.fill_(self._first_stage_weight)
        weight = float(head.lexical.weight)
        return replace(fitted, metrics={**fitted.metrics, LEXICAL_WEIGHT: weight})

    def _fitted_together(
        self, head: Head, affinities: Sequence[FloatArray], fusion_weight: float
    ) -> tuple[Validation, float]:
        """Fit the lexical weight beside a fusion weight, then the fusion weight beside it."""
        assert head.lexical is not None
        objectives = []
        for weight in FUSION_GRID:
            head.lexical.weight.fill_(weight)
            objectives.append(self._objective_at(affinities, fusion_weight, head))
        best = FUSION_GRID[int(np.argmax(objectives))]
        head.lexical.weight.fill_(best)
        return self.of(affinities, head=head), best

    def _with_fall(
        self, head: Head, affinities: Sequence[FloatArray], ungated: Validation
    ) -> Validation:
        """Fit the fall of a head's gate, and the fusion weight with it."""
        assert head.gate is not None
        best, best_fall = ungated, 0.0
        for fall in FALLS[1:]:
            head.gate.fall.fill_(fall)
            pairs = zip(self._candidates, affinities, strict=True)
            gated = [candidates.gated(head, values) for candidates, values in pairs]
            validation = self.of(gated, head=head)
            if validation.objective > best.objective:
                best, best_fall = validation, fall
        head.gate.fall.fill_(best_fall)
        return replace(
            best,
            metrics={
                **ungated.metrics,
                **best.metrics,
                GATE_FALL: best_fall,
                SPREAD: ungated.metrics[SPREAD],
            },
        )

    @cached_property
    def _first_stage_weight(self) -> float:
        """Weight of the lexical score beside the cosine, without a model."""
        lexical = [candidates.queries.lexical for candidates in self._candidates]
        return self.of([scores for scores in lexical if scores is not None]).fusion_weight

    @cached_property
    def _cosine(self) -> dict[str, float]:
        """Role -> objective of the cosine."""
        nothing = [np.zeros(candidates.queries.cosine.shape) for candidates in self._candidates]
        return self._by_role(nothing, 0.0, (self._objective,))[self._objective]

    def _objective_at(
        self, affinities: Sequence[FloatArray], weight: float, head: Head | None
    ) -> float:
        roles = self._by_role(affinities, weight, (self._objective,), head)[self._objective]
        return penalise_losses(roles, self._cosine)

    def _by_role(
        self,
        affinities: Sequence[FloatArray],
        weight: float,
        metrics: Sequence[str],
        head: Head | None = None,
    ) -> dict[str, dict[str, float]]:
        """Return metric -> role -> the mean over the role's domains."""
        means = [
            candidates.means(values, weight, metrics, head)
            for candidates, values in zip(self._candidates, affinities, strict=True)
        ]
        return {metric: self._role_means([mean[metric] for mean in means]) for metric in metrics}

    def _role_means(self, values: Sequence[float]) -> dict[str, float]:
        """Return role -> the mean of its domains' values."""
        seen, unseen = values[: self._n_in_domain], values[self._n_in_domain :]
        return {"seen": fmean(seen)} | ({"unseen": fmean(unseen)} if unseen else {})

    def _values(
        self, affinities: Sequence[FloatArray], weight: float, head: Head
    ) -> list[FloatArray]:
        """Return the objective of every query, (q,) for each query set."""
        return [
            candidates.values(
                fuse(candidates.first_stage(head), values, weight), (self._objective,)
            )[self._objective]
            for candidates, values in zip(self._candidates, affinities, strict=True)
        ]

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
