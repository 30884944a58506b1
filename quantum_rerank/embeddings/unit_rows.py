"""Rows of length 1, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.errors import EmbeddingError

_TOLERANCE = 1e-5  # largest difference of a length from 1: some hundred steps of a float32


def are_unit(rows: NDArray[Any]) -> bool:
    """Return whether every row has length 1. Rows with NaN do not."""
    return bool((np.abs(_lengths(rows) - 1.0) < _TOLERANCE).all())


def unit_rows(embeddings: NDArray[Any], label: str, first: int = 0) -> Embeddings:
    """Return rows as they are if all of them have length 1, and normalised otherwise.

    Args:
        embeddings: (n, dim) real numbers.
        label: Name of the array, for errors.
        first: Number of the first row, for errors.

    Returns:
        (n, dim) float32.

    Raises:
        EmbeddingError: See `normalised`.
    """
    rows: Embeddings = np.asarray(embeddings, dtype=np.float32)
    return rows if are_unit(rows) else normalised(rows, label, first)


def normalised(embeddings: Embeddings, label: str, first: int = 0) -> Embeddings:
    """Divide rows by their L2 norms.

    Args:
        embeddings: (n, dim) float32.
        label: Name of the array, for errors.
        first: Number of the first row, for errors.

    Returns:
        (n, dim) float32.

    Raises:
        EmbeddingError: A row has NaN or infinity, or a norm that float32 cannot hold.
    """
    if not np.isfinite(embeddings).all():
        bad = int(np.flatnonzero(~np.isfinite(embeddings).all(axis=1))[0])
        raise EmbeddingError(f"{label}: row {first + bad} holds NaN or infinity.")
    lengths = _lengths(embeddings)
    unusable = (lengths == 0) | np.isinf(lengths)
    if unusable.any():
        bad = int(np.argmax(unusable))
        raise EmbeddingError(f"{label}: row {first + bad} {_problem_of_length(embeddings[bad])}.")
    rows: Embeddings = (embeddings / lengths).astype(np.float32)
    return rows


def _lengths(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the L2 norm of each row, (n, 1); 0 or infinity if squares underflow or overflow."""
    with np.errstate(over="ignore"):
        # As `np.linalg.norm` computes it, without its checks, which cost more than a row does.
        lengths: NDArray[Any] = np.sqrt(np.add.reduce(rows * rows, axis=1, keepdims=True))
    return lengths


def _problem_of_length(row: Embeddings) -> str:
    """Describe a row of finite numbers that cannot be divided by its length."""
    if not row.any():
        return "is all zero"
    largest = np.abs(row).max()
    return (
        f"has numbers up to {largest:.1g}, and so a length that float32 cannot hold. "
        "Give it divided by its length"
    )
