from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.lib.format import open_memmap

from quantum_rerank.mapped_pages import mapped_file, release


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_released_pages_are_read_again(tmp_path: Path, mode: Literal["r", "r+", "c"]) -> None:
    expected = np.arange(5000.0)
    np.save(tmp_path / "array.npy", expected)
    array = open_memmap(tmp_path / "array.npy", mode=mode)
    view = np.asarray(array[10:])
    if mode != "r":
        view[0] = expected[10] = -1.0
    release(view)
    np.testing.assert_array_equal(array, expected)
    assert (mapped_file(view) is None) is (mode == "c")  # whose changes are in memory alone


def test_changes_of_a_new_file_are_kept(tmp_path: Path) -> None:
    array = open_memmap(tmp_path / "array.npy", mode="w+", dtype=np.int64, shape=(5000,))
    array[:] = 7
    release(array)
    assert (np.load(tmp_path / "array.npy") == 7).all()


def test_an_array_in_memory_has_no_pages_to_release() -> None:
    array = np.arange(3)
    release(array)
    assert mapped_file(array) is None
    assert array.tolist() == [0, 1, 2]
