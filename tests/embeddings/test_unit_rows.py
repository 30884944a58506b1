from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from quantum_rerank.embeddings.unit_rows import normalised, unit_rows
from quantum_rerank.errors import EmbeddingError


@pytest.mark.parametrize("size", [1e-25, 1e25])
@pytest.mark.parametrize("divided", [normalised, unit_rows])
def test_a_row_with_a_length_beyond_float32_is_refused_with_its_number(
    divided: Callable[..., object], size: float
) -> None:
    rows = np.ones((3, 5), dtype=np.float32)
    rows[1] = size
    with pytest.raises(EmbeddingError, match=re.escape(f"row 1 has numbers up to {size:.0e}, and")):
        divided(rows, "rows")


@pytest.mark.parametrize("size", [1e-19, 1e-3, 1e18])
def test_rows_are_divided_by_their_length_in_float32(size: float) -> None:
    rows = (np.random.default_rng(0).normal(size=(8, 4)) * size).astype(np.float32)
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_array_equal(normalised(rows, "rows"), expected)


def test_normalising_is_idempotent() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    once = normalised(rows, "rows")
    np.testing.assert_allclose(np.linalg.norm(once, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(normalised(once, "rows"), once, rtol=1e-6)
