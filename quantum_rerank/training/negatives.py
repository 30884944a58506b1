"""Negatives of a query: drawn at random, mined by the model, or left alone as suspected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantum_rerank.embeddings import take
from quantum_rerank.evaluation.query_set import QuerySet, Rows
from quantum_rerank.evaluation.ranking import Candidates, FloatArray
from quantum_rerank.similarity import FusedSimilarity, fuse
from quantum_rerank.training.candidates import is_among
from quantum_rerank.training.checked import checked_tensor
from quantum_rerank.training.config import LossConfig, NegativesConfig

Mask = NDArray[np.bool_]

NEVER = -2.0
"""The margin at which no document is suspected: cosines differ by at most 2."""


class Negatives:
    """The candidates that negatives are drawn from, and the documents that are suspected.

    Negatives are drawn, by `kind`: `random`, from all candidates that are not relevant; `hard`,
    from the `pool` of them that the model scores highest; `semi_hard`, from the `pool` that it
    scores next below the query's answer, its relevant document of the highest cosine (next
    above it if there are too few below). Both are mined anew every `refresh_epochs` epochs.

    Documents without a judgment are suspected to be relevant, and left alone, if their cosine
    to the query is above the answer's minus `false_negative_margin`.

    Candidates that were judged not relevant are never suspected and always in the pool, and are
    drawn first. A query's own documents are left alone.

    Args:
        query_sets: Training queries of each domain.
        config: Kind, pool and margin.
        loss: The number of negatives, and the score that negatives are mined by.
    """

    def __init__(
        self, query_sets: Sequence[QuerySet], config: NegativesConfig, loss: LossConfig
    ) -> None:
        self._kind = config.kind
        self._pool = config.pool
        self._refresh_epochs = config.refresh_epochs
        self._margin = config.false_negative_margin
        self._on_fidelity = loss.score == "fidelity"
        self._n_sampled = loss.negatives
        self._query_sets = query_sets
        needed = self._kind == "semi_hard" or self._margin > NEVER
        self._answers = {id(q): answers(q) for q in query_sets} if needed else {}
        self._judged = {id(q): is_among(q.candidates, q.not_relevant) for q in query_sets}
        self._usable = {id(q): self._usable_of(q) for q in query_sets}
        self._drawn_from = dict(self._usable)
        self._mined = False

    def refresh(self, model: FusedSimilarity, epochs_done: int) -> None:
        """Mine negatives by the scores of a model before its next epoch, if a refresh is due."""
        due = not self._mined or epochs_done % self._refresh_epochs == 0
        if self._kind == "random" or not due:
            return
        for queries in self._query_sets:
            scores, answer = self._scores(queries, model)
            usable, judged = self._usable[id(queries)], self._judged[id(queries)]
            self._drawn_from[id(queries)] = mined(scores, answer, usable, self._pool) | judged
        self._mined = True

    @property
    def n_drawn(self) -> int:
        """Number of negatives per query, at most the size of the pool."""
        return self._n_sampled if self._kind == "random" else min(self._n_sampled, self._pool)

    def candidates(self, queries: QuerySet, rows: Rows) -> Mask:
        """Mark the candidates that may be drawn as negatives, (len(rows), k)."""
        return self._drawn_from[id(queries)][rows]

    def judged(self, queries: QuerySet, rows: Rows) -> Mask:
        """Mark the candidates that were judged not relevant, (len(rows), k); drawn first."""
        return self._judged[id(queries)][rows]

    def left_alone(self, queries: QuerySet, rows: Rows, documents: Rows) -> Mask | None:
        """Mark the documents that are no negatives, (len(rows), len(documents)).

        They are suspected to be relevant, or are the query itself.

        Returns:
            The mask, or None if no document is ever left alone.
        """
        identical = _pairs(queries.own_documents, rows, documents)
        if self._margin <= NEVER:
            return identical
        cosine = queries.queries[rows] @ take(queries.documents, documents).T
        suspected = self._above(queries, cosine, rows)
        judged = _pairs(queries.not_relevant, rows, documents)
        if judged is not None:
            suspected &= ~judged
        return suspected if identical is None else suspected | identical

    def state_dict(self) -> dict[str, Any]:
        """Return the mined candidates, in the order of the query sets; empty before mining."""
        masks = [torch.from_numpy(self._drawn_from[id(q)]) for q in self._query_sets]
        return {"drawn_from": masks if self._mined else []}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        masks = state["drawn_from"]
        self._mined = bool(masks)
        self._drawn_from = dict(self._usable)
        for queries, mask in zip(self._query_sets, masks, strict=self._mined):
            usable = torch.from_numpy(self._usable[id(queries)])
            self._drawn_from[id(queries)] = checked_tensor(mask, usable, "drawn_from").numpy()

    def _usable_of(self, queries: QuerySet) -> Mask:
        """Mark the candidates that are neither relevant nor suspected, (q, k)."""
        usable: Mask = queries.grades <= 0
        if self._margin > NEVER:
            suspected = self._above(queries, queries.cosine, np.arange(len(usable)))
            usable &= ~suspected | self._judged[id(queries)]
        return usable

    def _above(self, queries: QuerySet, cosine: NDArray[np.float32], rows: Rows) -> Mask:
        _, nearest = self._answers[id(queries)]
        above: Mask = cosine > nearest[rows, None] - self._margin
        return above

    def _scores(
        self, queries: QuerySet, model: FusedSimilarity
    ) -> tuple[FloatArray, FloatArray | None]:
        """Score all candidates, (q, k), and the answers, if they are needed."""
        if self._kind == "hard":
            return self._scored(queries, model), None
        documents, cosine = self._answers[id(queries)]
        with_answer = replace(
            queries,
            candidates=np.column_stack([queries.candidates, documents]),
            cosine=np.column_stack([queries.cosine, cosine]),
        )
        scores = self._scored(with_answer, model)
        return scores[:, :-1], scores[:, -1]

    def _scored(self, queries: QuerySet, model: FusedSimilarity) -> FloatArray:
        affinity = Candidates(queries).affinities(model.head)  # as the loss sees them
        if self._on_fidelity:
            return affinity
        return fuse(queries.cosine.astype(np.float64), affinity, model.weight.item())


def _pairs(named: Sequence[Rows], rows: Rows, documents: Rows) -> Mask | None:
    """Mark the documents named for each row, (len(rows), len(documents)); None for no names."""
    return np.array([np.isin(documents, named[row]) for row in rows]) if named else None


def answers(queries: QuerySet) -> tuple[Rows, NDArray[np.float32]]:
    """Return each query's relevant document of the highest cosine, and its cosine, (q,) each."""
    documents = np.empty(len(queries.positives), dtype=np.int64)
    cosine = np.empty(len(documents), dtype=np.float32)
    for row, relevant in enumerate(queries.positives):
        values = take(queries.documents, relevant) @ queries.queries[row]
        documents[row], cosine[row] = relevant[values.argmax()], values.max()
    return documents, cosine


def mined(scores: FloatArray, answer: FloatArray | None, usable: Mask, pool: int) -> Mask:
    """Choose the `pool` hardest of the usable candidates of each query.

    Args:
        scores: (q, k).
        answer: (q,) scores below which the hardest candidates begin; None: at the top.
        usable: (q, k), the candidates to choose from.
        pool: Number of candidates to choose.

    Returns:
        The mask of the chosen candidates, (q, k).

    >>> scores, usable = np.array([[0.9, 0.7, 0.5, 0.3]]), np.array([[True, True, False, True]])
    >>> mined(scores, None, usable, 2)
    array([[ True,  True, False, False]])
    >>> mined(scores, np.array([0.8]), usable, 2)
    array([[False,  True, False,  True]])
    """
    ease = -scores
    if answer is not None:
        below = answer[:, None] - scores
        # All scores below come before any above: scores are between -1 and 1.
        ease = np.where(below > 0, below, 4.0 - below)
    ease = np.where(usable, ease, np.inf)
    hardest = np.argsort(ease, axis=1, kind="stable")[:, :pool]
    chosen = np.zeros_like(usable)
    np.put_along_axis(chosen, hardest, True, axis=1)
    return chosen & usable
