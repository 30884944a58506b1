from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantum_rerank.embeddings import first_equal
from quantum_rerank.embeddings.mapped import BLOCK


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
@pytest.mark.parametrize("dim", [1, 3, 8])
def test_each_row_is_mapped_to_the_first_equal_row(dtype: Any, dim: int) -> None:
    values = [5, 1, 5, 2, 1, 1, 3]
    vectors = np.repeat(np.array(values, dtype=dtype)[:, None], dim, axis=1)
    assert first_equal(vectors).tolist() == [0, 1, 0, 3, 1, 1, 6]


def test_rows_that_differ_in_their_last_digit_are_not_equal() -> None:
    row = np.random.default_rng(0).normal(size=384).astype(np.float32)
    other = row.copy()
    other[-1] = np.nextafter(other[-1], np.float32(9))
    assert first_equal(np.stack([row, other, row])).tolist() == [0, 1, 0]


@pytest.mark.parametrize("n", [0, 1])
def test_a_row_alone_is_the_first(n: int) -> None:
    assert first_equal(np.ones((n, 4), dtype=np.float32)).tolist() == list(range(n))


def test_equal_rows_are_found_across_blocks() -> None:
    vectors = np.arange(BLOCK + 2, dtype=np.float32)[:, None].repeat(2, axis=1)
    vectors[BLOCK + 1] = vectors[1]
    first = first_equal(vectors)
    assert first[BLOCK + 1] == 1
    assert (first[: BLOCK + 1] == np.arange(BLOCK + 1)).all()
