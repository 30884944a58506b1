"""Vectors too many for memory: read and written block by block, in files that are mapped.

A mapped array is an ordinary one whose rows come from its file when they are read. Each page
that was read counts as the process's own memory until it is let go, so whoever reads many
rows does so through `blocks` and `take`, which keep none.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

FloatRows = NDArray[np.float32]

MAPPED_FROM = 2**26
"""Bytes from which a file of vectors is mapped; a smaller one is read at once."""

BLOCK = 2**14  # rows; of 384 numbers each, 25 MB
_AT_ONCE = 64  # rows taken before their pages are given back


def open_mapped(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file, read-only.

    A plain ndarray: a memmap would be copied into every process that it is handed to, where
    this is written to their shared memory once.
    """
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def blocks(vectors: NDArray[Any], n_rows: int = BLOCK) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row's number and the rows of one block after another."""
    for start in range(0, len(vectors), n_rows):
        yield start, vectors[start : start + n_rows]
        _let_go(vectors)


def take(vectors: FloatRows, rows: NDArray[np.int64]) -> FloatRows:
    """A copy of some rows."""
    if _file_of(vectors) is None:
        taken: FloatRows = vectors[rows]
        return taken
    taken = np.empty((len(rows), vectors.shape[1]), dtype=vectors.dtype)
    # In parts, because with each row the system may map 2 MB around it.
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        taken[part] = vectors[rows[part]]
        _let_go(vectors)
    return taken


def write_rows(file: IO[bytes], n_rows: int, parts: Iterable[FloatRows]) -> None:
    """Write the blocks of one array, (n, dim) each, as a `.npy` file."""
    for number, part in enumerate(parts):
        if not number:
            shape = (n_rows, part.shape[1])
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(part, dtype="<f4").data)


def _let_go(vectors: NDArray[Any]) -> None:
    """Give the pages of a mapped file back; they are read again when they are needed."""
    if (file := _file_of(vectors)) is not None:
        file.madvise(mmap.MADV_DONTNEED)


def _file_of(vectors: NDArray[Any]) -> mmap.mmap | None:
    """The mapping of an array's file; None where there is none, or it may be written to."""
    owner: Any = vectors
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    if isinstance(owner, np.memmap) and owner.mode == "r" and isinstance(owner.base, mmap.mmap):
        return owner.base
    return None
