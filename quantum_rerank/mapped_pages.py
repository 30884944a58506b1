"""Pages of mapped files, which count as memory of the process until they are released."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHARED = ("r", "r+", "w+")  # modes in which the file keeps what was written


def release(array: NDArray[Any]) -> None:
    """Release the pages of a mapped file, which are read again on access.

    Nothing is lost: the system writes changed pages to the file. An array in memory is left
    as it is.

    Args:
        array: An array, or a view of one.
    """
    if (file := mapped_file(array)) is not None:
        file.madvise(mmap.MADV_DONTNEED)


def mapped_file(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the mapping of an array's file; None if it has none, or keeps changes to itself."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    if not isinstance(owner, np.memmap) or owner.mode not in _SHARED:
        return None
    while isinstance(owner, np.ndarray):  # a view of a memmap is one too
        owner = owner.base
    return owner if isinstance(owner, mmap.mmap) else None
