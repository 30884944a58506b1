from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.embeddings.mapped import blocks, open_mapped, take, write_rows

SMAPS = Path("/proc/self/smaps")
on_linux = pytest.mark.skipif(not SMAPS.exists(), reason="only Linux tells what is mapped")
ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of 32 MB."""
    path = tmp_path / "large.npy"
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        parts: Iterator[np.ndarray] = (rng.random((2**12, 256), np.float32) for _ in range(8))
        write_rows(file, 2**15, parts)
    return path


def resident(path: Path) -> int:
    """Bytes of a mapped file that are in this process's memory."""
    lines = iter(SMAPS.read_text().splitlines())
    total = 0
    for line in lines:
        if line.endswith(str(path)):
            total += next(int(x.split()[1]) * 1024 for x in lines if x.startswith("Rss:"))
    return total


@pytest.mark.parametrize(
    "header", ["{'descr': '<f4', 'shape': (2**62,", "{'descr': '<f4'", "", "((((", "\x00"]
)
def test_an_array_with_a_damaged_header_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, ROWS)
    content = path.read_bytes()
    start = content.index(b"{")
    damaged = header.encode().ljust(128 - start - 1) + b"\n"
    path.write_bytes(content[:start] + damaged + content[128:])
    with pytest.raises(ValueError, match=r"header|declares|format"):
        open_mapped(path)


@pytest.mark.parametrize("n_rows", [1, 7, 20, 100])
def test_blocks_are_read_as_one_array(tmp_path: Path, n_rows: int) -> None:
    path = tmp_path / "rows.npy"
    with path.open("wb") as file:
        write_rows(file, len(ROWS), (part for _, part in blocks(ROWS, n_rows)))
    np.testing.assert_array_equal(np.load(path), ROWS)
    mapped = open_mapped(path)
    np.testing.assert_array_equal(mapped, ROWS)
    firsts, parts = zip(*blocks(mapped, n_rows), strict=True)
    assert list(firsts) == list(range(0, 20, n_rows))
    np.testing.assert_array_equal(np.concatenate(parts), ROWS)


def test_taken_rows_are_a_copy_of_mapped_and_other_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    rows = np.tile([19, 0, 7, 7], 40)
    for vectors in (ROWS, open_mapped(tmp_path / "rows.npy")):
        taken = take(vectors, rows)
        np.testing.assert_array_equal(taken, ROWS[rows])
        taken += 1
        np.testing.assert_array_equal(take(vectors, rows), ROWS[rows])


@on_linux
def test_reading_blocks_keeps_at_most_a_block_in_memory(large: Path) -> None:
    vectors = open_mapped(large)
    block, total = 2**20, 0.0
    for _, part in blocks(vectors, 2**10):
        total += float(part.sum(dtype=np.float64))
        assert resident(large) <= block + 2**21  # the system maps up to 2 MB around a row
    assert resident(large) == 0
    assert total == pytest.approx(float(vectors.sum(dtype=np.float64)))
    assert resident(large) > 2**24


@on_linux
def test_taking_rows_keeps_no_page_in_memory(large: Path) -> None:
    vectors, rng = open_mapped(large), np.random.default_rng(0)
    whole = np.load(large)
    for _ in range(20):
        rows = rng.integers(len(vectors), size=200)
        np.testing.assert_array_equal(take(vectors, rows), whole[rows])
        assert resident(large) == 0


def test_a_mapped_array_is_sent_to_another_process_outside_of_the_pickle(large: Path) -> None:
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(open_mapped(large), protocol=5, buffer_callback=buffers.append)
    assert len(content) < 1000
    assert [buffer.raw().nbytes for buffer in buffers] == [2**25]
