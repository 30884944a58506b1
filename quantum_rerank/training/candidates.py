"""Changes to the nearest documents of a query: without itself, with those that were judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.embeddings import Embeddings, take

Rows = NDArray[np.int64]


def without_rows(
    candidates: Rows, cosine: Embeddings, left_out: Sequence[Rows], n_kept: int
) -> tuple[Rows, Embeddings]:
    """Take some documents out of each query's candidates and keep the nearest of the others.

    Args:
        candidates: (q, k) rows of documents, best first.
        cosine: (q, k) float32.
        left_out: Per query, the rows that are no candidates of it.
        n_kept: At most k minus the most that are left out of one query.

    Returns: Candidates and cosines, (q, n_kept) each.

    >>> rows, cosine = np.array([[5, 2, 7]]), np.array([[0.9, 0.8, 0.7]], dtype=np.float32)
    >>> without_rows(rows, cosine, [np.array([5])], 2)[0]
    array([[2, 7]])
    """
    order = np.argsort(is_among(candidates, left_out), axis=1, kind="stable")[:, :n_kept]
    return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(cosine, order, axis=1)


def with_judged(
    candidates: Rows,
    cosine: Embeddings,
    is_relevant: NDArray[np.bool_],
    not_relevant: Sequence[Rows],
    queries: Embeddings,
    documents: Embeddings,
) -> tuple[Rows, Embeddings]:
    """Put documents that were judged not relevant among the candidates of their query.

    They replace the farthest candidates that nobody judged, so that every query keeps as many.
    At most half of the candidates are replaced, by the nearest judged documents: the others
    stay those of the first retrieval, which the model will have to rank.

    Args:
        candidates: (q, k) rows of documents by falling cosine.
        cosine: (q, k) float32.
        is_relevant: (q, k), the candidates that stay.
        not_relevant: Per query, the rows that were judged not relevant.
        queries: (q, dim) float32.
        documents: (m, dim) float32.

    Returns: Candidates and cosines, (q, k) each, by falling cosine.
    """
    candidates, cosine = candidates.copy(), cosine.copy()
    for query, judged in enumerate(not_relevant):
        missing = np.setdiff1d(judged, candidates[query])
        unjudged = ~is_relevant[query] & ~np.isin(candidates[query], judged)
        places = np.flatnonzero(unjudged)
        n_joined = min(len(missing), len(places), candidates.shape[1] // 2)
        if not n_joined:
            continue
        values = take(documents, missing) @ queries[query]
        nearest = np.argsort(-values, kind="stable")[:n_joined]
        candidates[query, places[-n_joined:]] = missing[nearest]
        cosine[query, places[-n_joined:]] = values[nearest]
        order = np.argsort(-cosine[query], kind="stable")
        candidates[query], cosine[query] = candidates[query, order], cosine[query, order]
    return candidates, cosine


def is_among(candidates: Rows, rows: Sequence[Rows]) -> NDArray[np.bool_]:
    """Return which candidates are among some rows of their query, (q, k); none where it is empty.

    >>> is_among(np.array([[5, 2], [5, 2]]), [np.array([5]), np.array([], dtype=np.int64)])
    array([[ True, False],
           [False, False]])
    """
    if not rows:
        return np.zeros(candidates.shape, dtype=bool)
    return np.array([np.isin(near, some) for near, some in zip(candidates, rows, strict=True)])
