"""Equal rows of an array of vectors.

Two equal vectors can get scores that differ in their last digits: the rounding of a matrix product
depends on where in the matrix a row stands. Whoever ranks them scores only one of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.embeddings.mapped import blocks


def first_equal(vectors: NDArray[Any]) -> NDArray[np.intp]:
    """The number of the first row that is equal to each row.

    vectors: (n, dim) numbers; they may be a mapped file, which is read block by block.
    Returns: (n,); a row's own number where no earlier row is equal to it.

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


def _keys(rows: NDArray[Any]) -> NDArray[Any]:
    """A number per row, which is the same for equal rows: integers, so that nothing is rounded."""
    word = np.dtype(f"u{np.gcd(rows.shape[1] * rows.itemsize, 8)}")
    words = np.ascontiguousarray(rows).view(word)
    factors = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64)
    keys: NDArray[Any] = words @ (2 * factors + 1)
    return keys
