"""Scores of a model by its number of training queries, beside baselines that need none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation import COSINE, NDCG, Comparison, Scores, compare
from quantum_rerank.evaluation.learning_curve import GainOfDoubling, gain_of_doubling
from quantum_rerank.training.models import MeasuredModel
from quantum_rerank.training.trial_data import PreparedData

VALIDATION = f"val_{NDCG}"

_PARTS = (4, 2, 1)  # a quarter, a half and all of the training queries
_LEAST = 8  # training queries: a quarter of fewer is a single one


@dataclass(frozen=True)
class Point:
    """One training of the curve.

    Attributes:
        n_queries: Number of training queries.
        seed: Seed of the choice of queries and of the training.
        measured: Model of the best epoch, and its scores.
    """

    n_queries: int
    seed: int
    measured: MeasuredModel


@dataclass(frozen=True)
class LearningCurve:
    """Scores of a model by its number of training queries, beside two baselines.

    Attributes:
        config: Configuration of the trainings.
        prepared: Data of the trainings with all training queries.
        points: Trainings.
        baselines: Name -> the cosine, and BM25 with the cosine, which need no training query.
    """

    config: ExperimentConfig
    prepared: PreparedData
    points: Sequence[Point]
    baselines: Mapping[str, MeasuredModel]

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of training queries, the fewest first."""
        return sorted({point.n_queries for point in self.points})

    @property
    def first_stage(self) -> str:
        """Name of the baseline of BM25 and the cosine."""
        return next(name for name in self.baselines if name != COSINE)

    def of_size(self, n_queries: int) -> list[MeasuredModel]:
        """Return the models with a number of training queries, by seed."""
        return [point.measured for point in self.points if point.n_queries == n_queries]

    def gain(self, role: str) -> GainOfDoubling:
        """Return what twice as many training queries would be expected to bring.

        Args:
            role: Role of test queries.
        """
        values = [
            [measured.test[role].per_query[NDCG] for measured in self.of_size(size)]
            for size in self.sizes
        ]
        return gain_of_doubling(self.sizes, values, self._domains(role))

    def lead(self, role: str) -> Comparison:
        """Compare the model of all training queries, its mean over seeds, with the first stage.

        Args:
            role: Role of test queries.
        """
        models = [measured.test[role].per_query[NDCG] for measured in self.of_size(self.sizes[-1])]
        domains = self._domains(role)
        means = {query: fmean(of[query] for of in models) for query in domains}
        baseline = self.baselines[self.first_stage].test[role]
        return compare(means, baseline.per_query[NDCG], domains)

    def _domains(self, role: str) -> Mapping[str, str]:
        return self.points[0].measured.test[role].domains

    def record(self) -> dict[str, Any]:
        """Return the curve as JSON."""
        return {
            "model": self.config.model,
            "n_queries": self.sizes,
            "points": [
                {"n_queries": point.n_queries, "seed": point.seed, **_record(point.measured)}
                for point in self.points
            ],
            "baselines": {name: _record(of) for name, of in self.baselines.items()},
            "lead_over_first_stage": {role: asdict(self.lead(role)) for role in self._roles},
            "gain_of_doubling": {role: asdict(self.gain(role)) for role in self._roles},
            "config": self.config.model_dump(mode="json"),
            "splits": self.prepared.splits,
            "data_fingerprint": self.prepared.fingerprint,
        }

    def rows(self) -> Iterator[tuple[str, int | str, int | str, str, float]]:
        """Yield system, training queries, seed, role and NDCG@10; a baseline has neither."""
        for point in self.points:
            for role, value in scores_by_role(point.measured).items():
                yield self.config.model, point.n_queries, point.seed, role, value
        for name, measured in self.baselines.items():
            for role, value in scores_by_role(measured).items():
                yield name, "", "", role, value

    @property
    def _roles(self) -> list[str]:
        return list(self.prepared.test_roles)


def scores_by_role(measured: MeasuredModel) -> dict[str, float]:
    """Return role -> NDCG@10, the mean over domains: validation, and each role of test queries."""
    test = {role: scores.metrics[NDCG] for role, scores in measured.test.items()}
    return {"validation": measured.validation.metrics[VALIDATION], **test}


def _record(measured: MeasuredModel) -> dict[str, Any]:
    def per_query(scores: Scores) -> dict[str, float]:
        return dict(scores.per_query[NDCG])

    return {
        NDCG: scores_by_role(measured),
        "fusion_weight": measured.validation.fusion_weight,
        "per_query": {role: per_query(scores) for role, scores in measured.test.items()},
    }


def sizes_of(prepared: PreparedData) -> list[int]:
    """Return a quarter, a half and all of the number of training queries.

    Raises:
        DataError: There are too few queries for a quarter.
    """
    domains = prepared.trial.train
    n_queries = prepared.n_train
    least = max(_LEAST, max(_PARTS) * len(domains))
    if n_queries < least:
        rule = "a quarter of them must be at least two"
        if len(domains) > 2:
            rule = f"a quarter of them must be at least one for each of {len(domains)} collections"
        raise DataError(
            f"There are {n_queries} training queries, but a learning curve needs at least {least}: "
            f"{rule}. Judge more queries, or train without --learning-curve."
        )
    return [n_queries // part for part in _PARTS]
