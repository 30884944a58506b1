"""Candidates of a query: its nearest documents, without itself, with judged documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.embeddings import Embeddings, blocks, take
from quantum_rerank.evaluation.query_set import Rows


def nearest_documents(
    queries: Embeddings,
    documents: Embeddings,
    n_candidates: int,
    *,
    block: int = 256,
    documents_block: int = 2**16,
) -> tuple[Rows, Embeddings]:
    """Find the nearest documents of each query by cosine.

    Blocks of queries and documents are compared, so that a corpus may be a mapped file and no
    matrix has its length.

    Args:
        queries: (q, dim) float32, of length 1.
        documents: (m, dim) float32, of length 1.
        n_candidates: Documents for each query, at most m of which exist.
        block: Queries compared at once.
        documents_block: Documents compared at once.

    Returns:
        Rows of documents and their cosines, (q, k) each with k = min(n_candidates, m), best
        first, ties by row.
    """
    k = min(n_candidates, len(documents))
    rows = np.empty((len(queries), 0), dtype=np.int64)
    cosine = np.empty((len(queries), 0), dtype=np.float32)
    for first, part in blocks(documents, documents_block):
        highest = [
            _highest(queries[start : start + block] @ part.T, k)
            for start in range(0, len(queries), block)
        ]
        # Earlier blocks stand first, so that ties stay in the order of the rows.
        rows = np.column_stack([rows, first + np.concatenate([columns for columns, _ in highest])])
        cosine = np.column_stack([cosine, np.concatenate([values for _, values in highest])])
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
        rows = np.take_along_axis(rows, order, axis=1)
        cosine = np.take_along_axis(cosine, order, axis=1)
    return rows, cosine


def _highest(scores: Embeddings, k: int) -> tuple[Rows, Embeddings]:
    """Return columns and values of the k highest of each row, best first, ties by column."""
    k = min(k, scores.shape[1])
    columns = np.empty((len(scores), k), dtype=np.int64)
    for row, values in enumerate(scores):
        # Only values that can be among them are sorted: a whole row may be long.
        least = np.partition(values, -k)[-k]
        near = np.flatnonzero(values >= least)
        columns[row] = near[np.argsort(-values[near], kind="stable")[:k]]
    return columns, np.take_along_axis(scores, columns, axis=1)


def alternated(first: Rows, second: Rows, n: int) -> Rows:
    """Return the rows that two rankings name first, taken from each in turn, each row once.

    Args:
        first: (a,) rows of documents, best first.
        second: (b,) rows of documents, best first.
        n: Number of rows to return, fewer if the rankings have fewer.

    >>> alternated(np.array([5, 2, 7]), np.array([2, 9]), 4)
    array([5, 2, 9, 7])
    """
    ranks = np.concatenate([2 * np.arange(len(first)), 2 * np.arange(len(second)) + 1])
    rows = np.concatenate([first, second])[np.argsort(ranks)]
    distinct, earliest = np.unique(rows, return_index=True)
    return distinct[np.argsort(earliest)][:n]


def without_rows(
    candidates: Rows, cosine: Embeddings, excluded: Sequence[Rows], n_candidates: int
) -> tuple[Rows, Embeddings]:
    """Remove some documents from each query's candidates and keep the nearest of the others.

    Args:
        candidates: (q, k) rows of documents, best first.
        cosine: (q, k) float32.
        excluded: Per query, the rows to remove.
        n_candidates: Candidates to keep: at most k minus the most rows that are removed from
            one query.

    Returns:
        Candidates and cosines, (q, n_candidates) each.

    >>> rows, cosine = np.array([[5, 2, 7]]), np.array([[0.9, 0.8, 0.7]], dtype=np.float32)
    >>> without_rows(rows, cosine, [np.array([5])], 2)[0]
    array([[2, 7]])
    """
    order = np.argsort(is_among(candidates, excluded), axis=1, kind="stable")[:, :n_candidates]
    return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(cosine, order, axis=1)


def with_judged(
    candidates: Rows,
    cosine: Embeddings,
    *,
    is_relevant: NDArray[np.bool_],
    not_relevant: Sequence[Rows],
    queries: Embeddings,
    documents: Embeddings,
) -> tuple[Rows, Embeddings]:
    """Add documents that were judged not relevant to the candidates of their query.

    They replace the farthest unjudged candidates, so that the number of candidates is the same.
    At most half of the candidates are replaced, by the nearest judged documents: the others
    remain those of the first retrieval, which the model will have to rank.

    Args:
        candidates: (q, k) rows of documents by falling cosine.
        cosine: (q, k) float32.
        is_relevant: (q, k), the candidates that are never replaced.
        not_relevant: Per query, the rows that were judged not relevant.
        queries: (q, dim) float32.
        documents: (m, dim) float32.

    Returns:
        Candidates and cosines, (q, k) each, by falling cosine.
    """
    candidates, cosine = candidates.copy(), cosine.copy()
    for query, judged in enumerate(not_relevant):
        missing = np.setdiff1d(judged, candidates[query])
        unjudged = ~is_relevant[query] & ~np.isin(candidates[query], judged)
        positions = np.flatnonzero(unjudged)
        n_added = min(len(missing), len(positions), candidates.shape[1] // 2)
        if not n_added:
            continue
        values = take(documents, missing) @ queries[query]
        nearest = np.argsort(-values, kind="stable")[:n_added]
        candidates[query, positions[-n_added:]] = missing[nearest]
        cosine[query, positions[-n_added:]] = values[nearest]
        order = np.argsort(-cosine[query], kind="stable")
        candidates[query], cosine[query] = candidates[query, order], cosine[query, order]
    return candidates, cosine


def is_among(candidates: Rows, rows: Sequence[Rows]) -> NDArray[np.bool_]:
    """Mark the candidates that are among some rows of their query.

    Args:
        candidates: (q, k) rows of documents.
        rows: Per query, rows of documents. Empty if no query has any.

    Returns:
        (q, k) booleans.

    >>> is_among(np.array([[5, 2], [5, 2]]), [np.array([5]), np.array([], dtype=np.int64)])
    array([[ True, False],
           [False, False]])
    """
    if not rows:
        return np.zeros(candidates.shape, dtype=bool)
    return np.array([np.isin(near, some) for near, some in zip(candidates, rows, strict=True)])
