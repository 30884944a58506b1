"""Equal rows of an array of vectors.

Equal vectors can get scores that differ in their last digits, since the rounding of a matrix
product depends on the position of a row. To rank them equally, only one of them is scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.embeddings.mapped import blocks


def first_equal(vectors: NDArray[Any]) -> NDArray[np.intp]:
    """Find the first row that is equal to each row.

    Args:
        vectors: (n, dim) numbers, which may be mapped; they are read block by block.

    Returns:
        (n,) numbers of rows; the number of the row itself if no earlier row is equal to it.

    >>> first_equal(np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)).tolist()
    [0, 1, 0]
    """
    first = np.arange(len(vectors))
    if len(vectors) < 2:
        return first
    keys = np.concatenate([_keys(rows) for _, rows in blocks(vectors)])
    order = np.argsort(keys, kind="stable")
    for place in np.flatnonzero(keys[order[1:]] == keys[order[:-1]]):
        earlier, later = order[place], order[place + 1]
        if np.array_equal(vectors[earlier], vectors[later]):
            first[later] = first[earlier]
    return first


def distinct_pairs(
    equal: NDArray[np.intp], scores: NDArray[np.float64] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find documents that differ in their vector or in a score of their text.

    Args:
        equal: (n,) first equal vectors, see `first_equal`.
        scores: (n,), or None for documents that are vectors alone.

    Returns:
        Positions of the d distinct documents, and for each of n the number of its own among them.

    >>> distinct_pairs(np.array([0, 0, 0]), np.array([0.5, 0.2, 0.5]))
    (array([1, 0]), array([1, 0, 1]))
    """
    keys = np.column_stack([equal, equal if scores is None else scores])
    _, first, positions = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first, positions.reshape(-1)


def _keys(rows: NDArray[Any]) -> NDArray[Any]:
    """Return a number per row, equal for equal rows; integers, so that nothing is rounded."""
    word = np.dtype(f"u{np.gcd(rows.shape[1] * rows.itemsize, 8)}")
    words = np.ascontiguousarray(rows).view(word)
    factors = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64)
    keys: NDArray[Any] = words @ (2 * factors + 1)
    return keys
