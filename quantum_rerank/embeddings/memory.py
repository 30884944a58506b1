"""Whether vectors fit into memory, known before the first of them is computed."""

from __future__ import annotations

import math
from pathlib import Path

from quantum_rerank.errors import EmbeddingError
from quantum_rerank.machine import container_memory_left

COPIES = 3  # as they come, divided by their lengths, and that once more as float32
GB = 1e9


def require_room(n_texts: int, width: int, label: str, available: float | None = None) -> None:
    """Refuse to embed what the memory cannot hold.

    available: bytes; what the system says by default.
    Raises: EmbeddingError with both numbers and the way out.
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
    """Bytes that can be had without swapping, within what a container has left.

    Infinite where the system does not say: there is no /proc/meminfo.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    free = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return min(next(free, math.inf), container_memory_left(root / "sys/fs/cgroup"))
