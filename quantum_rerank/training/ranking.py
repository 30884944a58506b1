"""How well a model ranks: scores of candidates, the fusion weight, the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.embeddings import Embeddings, take
from quantum_rerank.errors import DivergedError
from quantum_rerank.evaluation import (
    METRICS,
    NDCG,
    CandidateMetrics,
    Evaluator,
    Scores,
    over_domains,
)
from quantum_rerank.similarity import FALLS, FUSION_GRID, Head, fuse, gated
from quantum_rerank.training.data_manager import QuerySet

FloatArray = NDArray[np.float64]
_TEXTS = 2048  # represented at once: what lies between the layers stays in the cache
_PAIRS = 2**18  # compared at once: bounds the memory of a matrix product
SPREAD, GATE_FALL = "val_affinity_spread", "gate_fall"
_ONE_PRODUCT = 100  # times the candidates of a query; beyond it only those are compared


class Candidates:
    """The candidates of a query set, laid out once for all the times that they are ranked."""

    def __init__(self, queries: QuerySet) -> None:
        self.queries = queries
        self._cosine = queries.cosine.astype(np.float64)
        self._rows, positions = np.unique(queries.candidates, return_inverse=True)
        self._positions = positions.reshape(queries.candidates.shape)

    @cached_property
    def _metrics(self) -> CandidateMetrics:
        queries = self.queries
        judged = [list(queries.qrels[query].values()) for query in queries.query_ids]
        return CandidateMetrics(queries.grades, judged)

    def affinities(self, head: Head) -> FloatArray:
        """The head's affinity of every query with each of its candidates, (q, k), gated."""
        return self.gated(head, self.bare_affinities(head))

    def gated(self, head: Head, affinity: FloatArray) -> FloatArray:
        """Affinities as the head's gate has them, if it has one."""
        return gated(head, self.queries.queries, self._cosine, affinity)

    def bare_affinities(self, head: Head) -> FloatArray:
        """The same without a gate.

        Every document is represented once, however many queries it is a candidate of.
        """
        head.eval()
        result = np.empty(self._positions.shape)
        with torch.no_grad():
            documents = _represented(head, self.queries.documents, self._rows)
            asked = _represented(head, self.queries.queries, np.arange(len(result)))
            # Against all documents at once, unless their number outweighs the one product.
            n_candidates = self.queries.candidates.shape[1]
            one_product = len(documents) <= _ONE_PRODUCT * n_candidates
            size = max(_PAIRS // (len(documents) if one_product else n_candidates), 1)
            for start in range(0, len(result), size):
                block = slice(start, start + size)
                own = self._positions[block]
                if one_product:
                    all_pairs = head.compare(asked[block], documents).numpy()
                    result[block] = np.take_along_axis(all_pairs, own, axis=1)
                else:
                    near = documents[torch.from_numpy(own)]
                    result[block] = head.compare(asked[block, None], near)[:, 0].numpy()
        if not np.isfinite(result).all():
            # NaN sorts as if it were the cosine's own order, and would be scored as that.
            raise DivergedError(
                f"The model gives affinities that are not finite on {self.queries.domain}."
            )
        return result

    def means(
        self, affinity: FloatArray, weight: float, metrics: Sequence[str]
    ) -> dict[str, float]:
        """The mean of each metric at one fusion weight."""
        ranks = self._metrics.ranks(fuse(self._cosine, affinity, weight))
        return {name: float(self._metrics.values(name, ranks).mean()) for name in metrics}

    def rankings(self, affinity: FloatArray, weight: float) -> Mapping[str, Sequence[str]]:
        """Query id -> document ids, best first."""
        order = np.argsort(-fuse(self._cosine, affinity, weight), axis=1, kind="stable")
        # Object dtype, so that an id is never cut.
        ids: NDArray[Any] = np.array(self.queries.document_ids, dtype=object)
        ranked = np.take_along_axis(ids[self.queries.candidates], order, axis=1).tolist()
        return dict(zip(self.queries.query_ids, ranked, strict=True))


def _represented(head: Head, vectors: Embeddings, rows: NDArray[np.int64]) -> Tensor:
    """The representations of some rows, block by block: no copy of the whole is made."""
    first = head.represent(torch.from_numpy(take(vectors, rows[:_TEXTS])))
    result = first.new_empty((len(rows), first.shape[1]))
    result[: len(first)] = first
    for start in range(_TEXTS, len(rows), _TEXTS):
        block = rows[start : start + _TEXTS]
        result[start : start + len(block)] = head.represent(torch.from_numpy(take(vectors, block)))
    return result


@dataclass(frozen=True)
class Validation:
    """A model's standing on validation, at the fusion weight that suits it best there.

    objective: mean of the seen and the unseen domains' metric (seen alone where no
        domain is held out), each the mean over its domains; what either lost
        against plain cosine counts double.
    metrics: `val_seen_ndcg@10` and the like, for the record; SPREAD, the standard
        deviation of the affinities over a query's candidates, its mean over all queries;
        GATE_FALL where there is a gate.
    """

    objective: float
    fusion_weight: float
    metrics: dict[str, float]


class Validator:
    """Fits the fusion weight on validation queries, the unseen domains' included."""

    def __init__(
        self, seen: Sequence[QuerySet], unseen: Sequence[QuerySet], objective: str = NDCG
    ) -> None:
        self._candidates = [Candidates(queries) for queries in (*seen, *unseen)]
        self._n_seen = len(seen)
        self._objective = objective

    def __call__(self, head: Head) -> Validation:
        """Measure a head. Weight 0 is among the choices: never below plain cosine.

        Where the head has a gate, sets its fall too, of which 0, no gate, is a choice.
        """
        affinity = [candidates.bare_affinities(head) for candidates in self._candidates]
        bare = self.of(affinity)
        if head.gate is None:
            return bare
        best, best_fall = bare, 0.0
        for fall in FALLS[1:]:
            head.gate.fall.fill_(fall)
            pairs = zip(self._candidates, affinity, strict=True)
            found = self.of([candidates.gated(head, one) for candidates, one in pairs])
            if found.objective > best.objective:
                best, best_fall = found, fall
        head.gate.fall.fill_(best_fall)
        return replace(
            best, metrics={**best.metrics, SPREAD: bare.metrics[SPREAD], GATE_FALL: best_fall}
        )

    def of(
        self, affinity: Sequence[FloatArray], weights: Sequence[float] = FUSION_GRID
    ) -> Validation:
        """Measure what gives these affinities, (q, k) of each query set, the seen ones first.

        weights: of the fusion, to choose from.
        """
        by_weight = {
            weight: self._roles(affinity, weight, (self._objective,))[self._objective]
            for weight in dict.fromkeys((0.0, *weights))
        }
        cosine = by_weight[0.0]
        values = [losses_doubled(by_weight[weight], cosine) for weight in weights]
        best = int(np.argmax(values))
        metrics = {SPREAD: fmean(float(values.std(axis=1).mean()) for values in affinity)}
        for metric, roles in self._roles(affinity, weights[best], METRICS).items():
            metrics[f"val_{metric}"] = fmean(roles.values())
            metrics |= {f"val_{role}_{metric}": value for role, value in roles.items()}
        return Validation(values[best], weights[best], metrics)

    def _roles(
        self, affinity: Sequence[FloatArray], weight: float, metrics: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """Metric -> role -> the mean over the role's domains."""
        means = [
            candidates.means(values, weight, metrics)
            for candidates, values in zip(self._candidates, affinity, strict=True)
        ]
        return {metric: self._by_role([mean[metric] for mean in means]) for metric in metrics}

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


def score_on(head: Head, fusion_weight: float, query_sets: Sequence[QuerySet]) -> Scores:
    """Measure a head at a fusion weight chosen elsewhere: for test queries."""
    candidates = map(Candidates, query_sets)
    return _scores(((one, one.affinities(head)) for one in candidates), fusion_weight)


def score_affinities(
    affinities: Sequence[FloatArray], fusion_weight: float, query_sets: Sequence[QuerySet]
) -> Scores:
    """The same for what gives these affinities, (q, k) of each query set."""
    return _scores(zip(map(Candidates, query_sets), affinities, strict=True), fusion_weight)


def _scores(ranked: Iterable[tuple[Candidates, FloatArray]], fusion_weight: float) -> Scores:
    domains, per_query = [], []
    for candidates, affinity in ranked:
        queries, rankings = candidates.queries, candidates.rankings(affinity, fusion_weight)
        domains.append(queries.domain)
        per_query.append(Evaluator(queries.qrels).per_query(rankings))
    return over_domains(domains, per_query)
