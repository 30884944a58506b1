"""A check that vectors fit into memory, made before the first of them is computed."""

from __future__ import annotations

import math
from pathlib import Path

from quantum_rerank.errors import EmbeddingError
from quantum_rerank.machine import container_memory_left

COPIES = 3  # raw vectors, normalised vectors, and the latter as float32
GB = 1e9


def require_room(n_texts: int, width: int, label: str, available: float | None = None) -> None:
    """Refuse to embed texts whose vectors do not fit into memory.

    Args:
        n_texts: Number of texts.
        width: Numbers per vector.
        label: Name of the texts, for the error.
        available: Free bytes. Defaults to `available_memory()`.

    Raises:
        EmbeddingError: The vectors need more.
    """
    available = available_memory() if available is None else available
    needed = n_texts * width * 4 * COPIES
    if needed > available:
        raise EmbeddingError(
            f"{label}: the vectors of {n_texts:,} texts, {width} numbers each, need "
            f"{needed / GB:.1f} GB while they are computed, but {available / GB:.1f} GB of memory "
            "are free. Compute them in parts and give them as `npy:FOLDER`, which is mapped."
        )


def available_memory(root: Path = Path("/")) -> float:
    """Return the free memory of the system or of its container.

    Args:
        root: Root of the file system.

    Returns:
        Bytes available without swapping; infinite on systems without /proc/meminfo.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    free = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return min(next(free, math.inf), container_memory_left(root / "sys/fs/cgroup"))
