"""Which documents may stand against which query: drawn, mined by the model, or left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from quantum_rerank.embeddings import take
from quantum_rerank.evaluation.query_set import QuerySet, Rows
from quantum_rerank.evaluation.ranking import Candidates, FloatArray
from quantum_rerank.similarity import FusedSimilarity, fuse
from quantum_rerank.training.candidates import is_among

Kind = Literal["random", "semi_hard", "hard"]
Mask = NDArray[np.bool_]

NEVER = -2.0
"""The margin at which no document is suspected: cosines differ by at most 2."""


class Negatives:
    """Which candidates a query's negatives are drawn from, and which documents are suspected.

    kind: `random`, from all candidates that are not relevant; `hard`, from the `pool` of them
        that the model scores highest; `semi_hard`, from the `pool` that it scores next below
        the query's answer, its relevant document of the highest cosine (next above it where
        there are too few below). Both are mined anew every `refresh_epochs` epochs.
    margin: documents without a judgment are left alone where their cosine to the query is
        above the answer's minus this: they may well be relevant.
    on_fidelity: the model's score is its affinity; otherwise it is fused with the cosine.

    Candidates that were judged not relevant are never suspected and always in the pool, and are
    drawn before all others. A query's own documents are left alone.
    """

    def __init__(
        self,
        query_sets: Sequence[QuerySet],
        kind: Kind,
        pool: int,
        refresh_epochs: int,
        margin: float,
        on_fidelity: bool,
    ) -> None:
        self._kind = kind
        self._pool = pool
        self._refresh_epochs = refresh_epochs
        self._margin = margin
        self._on_fidelity = on_fidelity
        self._query_sets = query_sets
        needed = kind == "semi_hard" or margin > NEVER
        self._answers = {id(q): answers(q) for q in query_sets} if needed else {}
        self._judged = {id(q): is_among(q.candidates, q.not_relevant) for q in query_sets}
        self._usable = {id(q): self._usable_of(q) for q in query_sets}
        self._drawn_from = dict(self._usable)
        self._mined = False

    def refresh(self, model: FusedSimilarity, epochs_done: int) -> None:
        """Mine by the scores of a model before its next epoch, where it is time to."""
        due = not self._mined or epochs_done % self._refresh_epochs == 0
        if self._kind == "random" or not due:
            return
        for queries in self._query_sets:
            scores, answer = self._scores(queries, model)
            usable, judged = self._usable[id(queries)], self._judged[id(queries)]
            self._drawn_from[id(queries)] = mined(scores, answer, usable, self._pool) | judged
        self._mined = True

    def at_most(self, wanted: int) -> int:
        """How many of those wanted are drawn for a query: a pool has no more than it holds."""
        return wanted if self._kind == "random" else min(wanted, self._pool)

    def candidates(self, queries: QuerySet, rows: Rows) -> Mask:
        """(len(rows), k): the candidates that may be drawn as negatives of some queries."""
        return self._drawn_from[id(queries)][rows]

    def judged(self, queries: QuerySet, rows: Rows) -> Mask:
        """(len(rows), k): the candidates that were judged not relevant, to be drawn first."""
        return self._judged[id(queries)][rows]

    def left_alone(self, queries: QuerySet, rows: Rows, documents: Rows) -> Mask | None:
        """(len(rows), len(documents)): which are no negatives; None where none ever is left out.

        Those that may well be relevant, and those that are the query itself.
        """
        own = _pairs(queries.own_documents, rows, documents)
        if self._margin <= NEVER:
            return own
        cosine = queries.queries[rows] @ take(queries.documents, documents).T
        suspected = self._above(queries, cosine, rows)
        judged = _pairs(queries.not_relevant, rows, documents)
        if judged is not None:
            suspected &= ~judged
        return suspected if own is None else suspected | own

    def state_dict(self) -> dict[str, Any]:
        """What was mined, in the order of the query sets; nothing before it is."""
        masks = [torch.from_numpy(self._drawn_from[id(q)]) for q in self._query_sets]
        return {"drawn_from": masks if self._mined else []}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on drawing from what a `state_dict` says."""
        masks = [mask.numpy() for mask in state["drawn_from"]]
        self._mined = bool(masks)
        self._drawn_from = dict(self._usable) | {
            id(q): mask for q, mask in zip(self._query_sets, masks, strict=False)
        }

    def _usable_of(self, queries: QuerySet) -> Mask:
        """(q, k): the candidates that are neither relevant nor suspected."""
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
        """The model's scores of all candidates, (q, k), and of the answers where they count."""
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
        affinity = Candidates(queries).bare_affinities(model.head)  # as the loss sees them
        if self._on_fidelity:
            return affinity
        return fuse(queries.cosine.astype(np.float64), affinity, model.weight.item())


def _pairs(named: Sequence[Rows], rows: Rows, documents: Rows) -> Mask | None:
    """Mark the documents named for some queries, (len(rows), len(documents)); None for none."""
    return np.array([np.isin(documents, named[row]) for row in rows]) if named else None


def answers(queries: QuerySet) -> tuple[Rows, NDArray[np.float32]]:
    """The relevant document of the highest cosine of each query, and its cosine, (q,) each."""
    documents = np.empty(len(queries.positives), dtype=np.int64)
    cosine = np.empty(len(documents), dtype=np.float32)
    for row, relevant in enumerate(queries.positives):
        values = take(queries.documents, relevant) @ queries.queries[row]
        documents[row], cosine[row] = relevant[values.argmax()], values.max()
    return documents, cosine


def mined(scores: FloatArray, answer: FloatArray | None, usable: Mask, pool: int) -> Mask:
    """Choose the `pool` hardest of the usable candidates of each query, (q, k).

    scores: (q, k).  answer: (q,), below which the hardest begin, or None: at the top.

    >>> scores, usable = np.array([[0.9, 0.7, 0.5, 0.3]]), np.array([[True, True, False, True]])
    >>> mined(scores, None, usable, 2)
    array([[ True,  True, False, False]])
    >>> mined(scores, np.array([0.8]), usable, 2)
    array([[False,  True, False,  True]])
    """
    ease = -scores
    if answer is not None:
        below = answer[:, None] - scores
        # All that are below stand before any that is above: scores are between -1 and 1.
        ease = np.where(below > 0, below, 4.0 - below)
    ease = np.where(usable, ease, np.inf)
    hardest = np.argsort(ease, axis=1, kind="stable")[:, :pool]
    chosen = np.zeros_like(usable)
    np.put_along_axis(chosen, hardest, True, axis=1)
    return chosen & usable
