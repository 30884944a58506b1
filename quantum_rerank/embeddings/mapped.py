"""Vectors that do not fit into memory: mapped files, read and written block by block.

A mapped array is an ordinary array whose rows are read from its file on access. Each page that
was read counts as memory of the process until it is released. Read many rows through `blocks` and
`take`, which release them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.mapped_pages import mapped_file, release
from quantum_rerank.regular_files import require_regular

FloatRows = NDArray[np.float32]

MAPPED_FROM = 2**26
"""Smallest file of vectors, in bytes, that is mapped; a smaller one is read at once."""

BLOCK = 2**14  # rows; of 384 numbers each, 25 MB
_AT_ONCE = 64  # rows taken before their pages are released


def open_mapped(path: Path) -> NDArray[Any]:
    """Map a `.npy` file, read-only.

    Args:
        path: File of an array.

    Returns:
        A plain ndarray. Ray would copy a memmap into every process, but writes an ndarray to
        shared memory once.

    Raises:
        OSError: The file cannot be read, or is no regular file.
        ValueError: The file is no array, or has another size than its header declares.
    """
    require_regular(path, follow_link=True)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, OverflowError, TokenError) as error:  # of numpy's reader of the header
        raise ValueError(f"its header cannot be read: {error}") from None
    n_bytes = array.offset + array.nbytes if isinstance(array, np.memmap) else -1
    if n_bytes != path.stat().st_size:
        raise ValueError(
            f"the file has {path.stat().st_size:,} bytes, but declares {n_bytes:,} in its header"
        )
    return np.asarray(array)


def blocks(vectors: NDArray[Any], n_rows: int = BLOCK) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the number of the first row, and the rows, of one block after another.

    Args:
        vectors: (n, dim) array, which may be mapped.
        n_rows: Rows per block.
    """
    for start in range(0, len(vectors), n_rows):
        yield start, vectors[start : start + n_rows]
        release(vectors)


def take(vectors: FloatRows, rows: NDArray[np.int64]) -> FloatRows:
    """Return a copy of some rows.

    Args:
        vectors: (n, dim) float32, which may be mapped.
        rows: (k,) numbers of rows.

    Returns:
        (k, dim) float32.
    """
    if mapped_file(vectors) is None:
        taken: FloatRows = vectors[rows]
        return taken
    taken = np.empty((len(rows), vectors.shape[1]), dtype=vectors.dtype)
    # In parts, because the system may map 2 MB around each row.
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        taken[part] = vectors[rows[part]]
        release(vectors)
    return taken


def write_rows(file: IO[bytes], n_rows: int, parts: Iterable[FloatRows]) -> None:
    """Write the blocks of an array as a `.npy` file.

    Args:
        file: Opened for writing.
        n_rows: Rows of all blocks together.
        parts: Blocks, (n, dim) each.
    """
    for number, part in enumerate(parts):
        if not number:
            shape = (n_rows, part.shape[1])
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(part, dtype="<f4").data)
