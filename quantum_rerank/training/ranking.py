"""How well a model ranks: scores of candidates, the fusion weight, the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantum_rerank.errors import DivergedError
from quantum_rerank.evaluation import MAP, METRICS, NDCG, Evaluator, Scores, over_domains
from quantum_rerank.similarity import FUSION_GRID, Head, fuse
from quantum_rerank.training.data_manager import QuerySet

FloatArray = NDArray[np.float64]
_BLOCK = 256  # queries compared at once: bounds the memory of their candidates' states


def affinities(head: Head, queries: QuerySet) -> FloatArray:
    """The head's affinity of every query with each of its candidates, (q, k).

    Every document is represented once, however many queries it is a candidate of.
    """
    rows, positions = np.unique(queries.candidates, return_inverse=True)
    positions = positions.reshape(queries.candidates.shape)
    head.eval()
    result = np.empty(queries.candidates.shape)
    with torch.no_grad():
        documents = head.represent(torch.from_numpy(queries.documents[rows]))
        for start in range(0, len(queries.query_ids), _BLOCK):
            block = slice(start, start + _BLOCK)
            # A copy, since a shared array is read-only and torch asks for more.
            asked = head.represent(torch.from_numpy(queries.queries[block].copy()))
            near = documents[torch.from_numpy(positions[block])]
            result[block] = head.compare(asked[:, None, :], near)[:, 0, :].numpy()
    if not np.isfinite(result).all():
        # NaN sorts as if it were the cosine's own order, and would be scored as that.
        raise DivergedError(f"The model gives affinities that are not finite on {queries.domain}.")
    return result


class RankingValidator:
    """Ranks the candidates of fixed query sets by scores, and measures the result.

    The evaluators are built once; a call costs the sorting and the metrics.
    """

    def __init__(self, query_sets: Sequence[QuerySet], objective: str = NDCG) -> None:
        self.query_sets = tuple(query_sets)
        self._objective = objective
        self._depth = None if objective == MAP else 10
        self._ids = [_candidate_ids(queries) for queries in query_sets]
        self._all_metrics = [Evaluator(queries.qrels) for queries in query_sets]
        self._only_objective = [Evaluator(queries.qrels, (objective,)) for queries in query_sets]

    def objective(self, affinity: Sequence[FloatArray], weight: float) -> list[float]:
        """The objective's metric per query set at one fusion weight."""
        return [
            evaluator.mean(self._rankings(position, affinity[position], weight, self._depth))[
                self._objective
            ]
            for position, evaluator in enumerate(self._only_objective)
        ]

    def per_query(
        self, affinity: Sequence[FloatArray], weight: float
    ) -> list[dict[str, dict[str, float]]]:
        """Metric -> query id -> value, per query set."""
        return [
            evaluator.per_query(self._rankings(position, affinity[position], weight, depth=None))
            for position, evaluator in enumerate(self._all_metrics)
        ]

    def _rankings(
        self, position: int, affinity: FloatArray, weight: float, depth: int | None
    ) -> Mapping[str, Sequence[str]]:
        queries, ids = self.query_sets[position], self._ids[position]
        scores = fuse(queries.cosine.astype(np.float64), affinity, weight)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        ranked = np.take_along_axis(ids, order, axis=1).tolist()
        return dict(zip(queries.query_ids, ranked, strict=True))


@dataclass(frozen=True)
class Validation:
    """A model's standing on validation, at the fusion weight that suits it best there.

    objective: mean of the seen and the unseen domains' metric (seen alone where no
        domain is held out), each the mean over its domains; what either lost
        against plain cosine counts double.
    metrics: `val_seen_ndcg@10` and the like, for the record.
    """

    objective: float
    fusion_weight: float
    metrics: dict[str, float]


class Validator:
    """Fits the fusion weight on validation queries, the unseen domains' included."""

    def __init__(
        self, seen: Sequence[QuerySet], unseen: Sequence[QuerySet], objective: str = NDCG
    ) -> None:
        self._ranking = RankingValidator([*seen, *unseen], objective)
        self._n_seen = len(seen)

    def __call__(self, head: Head) -> Validation:
        """Measure a head. Weight 0 is among the choices: never below plain cosine."""
        affinity = [affinities(head, queries) for queries in self._ranking.query_sets]
        by_weight = [self._by_role(self._ranking.objective(affinity, w)) for w in FUSION_GRID]
        cosine = by_weight[FUSION_GRID.index(0.0)]
        values = [losses_doubled(roles, cosine) for roles in by_weight]
        best = int(np.argmax(values))
        metrics: dict[str, float] = {}
        measured = self._ranking.per_query(affinity, FUSION_GRID[best])
        for metric in METRICS:
            roles = self._by_role([fmean(per_query[metric].values()) for per_query in measured])
            metrics[f"val_{metric}"] = fmean(roles.values())
            metrics |= {f"val_{role}_{metric}": value for role, value in roles.items()}
        return Validation(values[best], FUSION_GRID[best], metrics)

    def _by_role(self, values: Sequence[float]) -> dict[str, float]:
        """The mean over the domains of each role."""
        seen, unseen = values[: self._n_seen], values[self._n_seen :]
        return {"seen": fmean(seen)} | ({"unseen": fmean(unseen)} if unseen else {})


def losses_doubled(roles: Mapping[str, float], cosine: Mapping[str, float]) -> float:
    """The mean over roles, with what one lost against cosine taken off twice.

    A plain mean would pay for a large gain on the domains trained on with a loss
    on those that are not.

    >>> round(losses_doubled({"seen": 0.60, "unseen": 0.36}, {"seen": 0.50, "unseen": 0.40}), 4)
    0.46
    """
    return fmean(value - max(cosine[role] - value, 0.0) for role, value in roles.items())


def _candidate_ids(queries: QuerySet) -> NDArray[Any]:
    """(q, k) document ids; object dtype, so that an id is never cut."""
    ids: NDArray[Any] = np.array(queries.document_ids, dtype=object)[queries.candidates]
    return ids


def score_on(head: Head, fusion_weight: float, query_sets: Sequence[QuerySet]) -> Scores:
    """Measure a head at a fusion weight chosen elsewhere: for test queries."""
    ranking = RankingValidator(query_sets)
    affinity = [affinities(head, queries) for queries in query_sets]
    return over_domains(
        [queries.domain for queries in query_sets], ranking.per_query(affinity, fusion_weight)
    )
