"""Ranking of a query set's candidates by a model, and the scores of the rankings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.embeddings import Embeddings, take
from quantum_rerank.errors import DivergedError
from quantum_rerank.evaluation.candidate_metrics import CandidateMetrics
from quantum_rerank.evaluation.leaderboard import Scores, over_domains
from quantum_rerank.evaluation.metrics import Evaluator
from quantum_rerank.evaluation.query_set import QuerySet, Rows
from quantum_rerank.similarity import Head, ScoreParts, score_parts

FloatArray = NDArray[np.float64]
_TEXTS = 2048  # represented at once: the layers' activations stay in the cache
_PAIRS = 2**18  # compared at once: bounds the memory of a matrix product
_ONE_PRODUCT = 100  # times the candidates of a query; beyond it only those are compared


class Candidates:
    """The candidates of a query set, prepared once for every ranking of them."""

    def __init__(self, queries: QuerySet) -> None:
        self.queries = queries
        self._cosine = queries.cosine.astype(np.float64)
        self._rows, positions = np.unique(queries.candidates, return_inverse=True)
        self._positions = positions.reshape(queries.candidates.shape)
        self._nearness: tuple[Tensor, Tensor] | None = None  # queries of a gate, and that to them

    @cached_property
    def _metrics(self) -> CandidateMetrics:
        queries = self.queries
        judged = [list(queries.qrels[query].values()) for query in queries.query_ids]
        return CandidateMetrics(queries.grades, judged)

    def parts(self, head: Head, affinity: FloatArray | None = None) -> ScoreParts:
        """Return the scores that a fusion weight fuses, with the head's gate and lexical part.

        Args:
            head: The head.
            affinity: (q, k), if it is computed already.
        """
        if affinity is None:
            affinity = self.affinities(head)
        return score_parts(head, self._cosine, self.queries.lexical, affinity, self._shares(head))

    def _shares(self, head: Head) -> FloatArray | None:
        """Return the shares of a gate, for which the nearness of the queries is computed once."""
        gate = head.gate
        if gate is None:
            return None
        if self._nearness is None or self._nearness[0] is not gate.queries:
            queries = torch.from_numpy(np.array(self.queries.queries))
            with torch.inference_mode():
                self._nearness = (gate.queries, gate.nearness(queries))
        shares: FloatArray = gate.shares(self._nearness[1]).numpy()
        return shares

    def beside_cosine(self, affinity: FloatArray) -> ScoreParts:
        """Return scores of any system, (q, k), to fuse with the cosine."""
        return ScoreParts(self._cosine, affinity)

    def affinities(self, head: Head) -> FloatArray:
        """Return the head's affinity of every query with each of its candidates, (q, k).

        Each document is represented once, even if it is a candidate of several queries.

        Raises:
            DivergedError: An affinity is not finite.
        """
        head.eval()
        with torch.no_grad():
            documents = _represent(head, self.queries.documents, self._rows)
            queries = _represent(head, self.queries.queries, np.arange(len(self._positions)))
            result = self._compare(head, queries, documents)
        if not np.isfinite(result).all():
            # NaN sorts as if it were the cosine's own order, and would be scored as that.
            raise DivergedError(
                f"The model gives affinities that are not finite on {self.queries.domain}."
            )
        return result

    def _compare(self, head: Head, queries: Tensor, documents: Tensor) -> FloatArray:
        """Compare each query with its candidates, (q, k), block by block."""
        result = np.empty(self._positions.shape)
        # Against all documents at once, unless their number outweighs the one product.
        n_candidates = self.queries.candidates.shape[1]
        one_product = len(documents) <= _ONE_PRODUCT * n_candidates
        size = max(_PAIRS // (len(documents) if one_product else n_candidates), 1)
        for start in range(0, len(result), size):
            block = slice(start, start + size)
            positions = self._positions[block]
            if one_product:
                all_pairs = head.compare(queries[block], documents).numpy()
                result[block] = np.take_along_axis(all_pairs, positions, axis=1)
            else:
                nearest = documents[torch.from_numpy(positions)]
                result[block] = head.compare(queries[block, None], nearest)[:, 0].numpy()
        return result

    def values(self, scores: FloatArray, metrics: Sequence[str]) -> dict[str, FloatArray]:
        """Return each metric of every query, (q,), from the scores of its candidates, (q, k)."""
        ranks = self._metrics.ranks(scores)
        return {name: self._metrics.values(name, ranks) for name in metrics}

    def means(self, parts: ScoreParts, weight: float, metrics: Sequence[str]) -> dict[str, float]:
        """Return the mean of each metric at one fusion weight."""
        values = self.values(parts.fused(weight), metrics)
        return {name: float(of_queries.mean()) for name, of_queries in values.items()}

    def rankings(self, parts: ScoreParts, weight: float) -> Mapping[str, Sequence[str]]:
        """Return query id -> document ids, best first."""
        order = np.argsort(-parts.fused(weight), axis=1, kind="stable")
        # Object dtype, so that an id is never cut.
        ids: NDArray[Any] = np.array(self.queries.document_ids, dtype=object)
        ranked = np.take_along_axis(ids[self.queries.candidates], order, axis=1).tolist()
        return dict(zip(self.queries.query_ids, ranked, strict=True))


def _represent(head: Head, vectors: Embeddings, rows: Rows) -> Tensor:
    """Represent some rows block by block, without a copy of all vectors."""
    first = head.represent(torch.from_numpy(take(vectors, rows[:_TEXTS])))
    result = first.new_empty((len(rows), first.shape[1]))
    result[: len(first)] = first
    for start in range(_TEXTS, len(rows), _TEXTS):
        block = rows[start : start + _TEXTS]
        result[start : start + len(block)] = head.represent(torch.from_numpy(take(vectors, block)))
    return result


def score_on(head: Head, fusion_weight: float, query_sets: Sequence[QuerySet]) -> Scores:
    """Score a head on query sets that its fusion weight was not fitted on.

    Args:
        head: The trained model.
        fusion_weight: Weight of the model's affinity beside the cosine, from 0 to 1.
        query_sets: One for each domain.

    Returns:
        Metrics per query and their means, in which each domain counts the same.
    """
    all_candidates = map(Candidates, query_sets)
    return _scores(((each, each.parts(head)) for each in all_candidates), fusion_weight)


def score_affinities(
    affinities: Sequence[FloatArray], fusion_weight: float, query_sets: Sequence[QuerySet]
) -> Scores:
    """Score affinities that were computed without a head, such as those of BM25.

    Args:
        affinities: (q, k) for each query set.
        fusion_weight: Weight of the affinities beside the cosine, from 0 to 1.
        query_sets: One for each domain.

    Returns:
        Metrics per query and their means, in which each domain counts the same.
    """
    pairs = zip(map(Candidates, query_sets), affinities, strict=True)
    return _scores(
        ((each, each.beside_cosine(affinity)) for each, affinity in pairs), fusion_weight
    )


def _scores(ranked: Iterable[tuple[Candidates, ScoreParts]], fusion_weight: float) -> Scores:
    domains, per_query = [], []
    for candidates, parts in ranked:
        queries, rankings = candidates.queries, candidates.rankings(parts, fusion_weight)
        domains.append(queries.domain)
        per_query.append(Evaluator(queries.qrels).per_query(rankings))
    return over_domains(domains, per_query)
