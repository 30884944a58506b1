"""Whether vectors fit into memory, known before the first of them is computed."""

from __future__ import annotations

from pathlib import Path

from quantum_rerank.errors import EmbeddingError

COPIES = 3  # as they come, divided by their lengths, and that once more as float32
GB = 1e9


def require_room(n_texts: int, width: int, label: str, available: int | None = None) -> None:
    """Refuse to embed what the memory cannot hold.

    available: bytes; what the system says by default.
    Raises: EmbeddingError with both numbers and the way out.
    """
    available = available_memory() if available is None else available
    needed = n_texts * width * 4 * COPIES
    if available is not None and needed > available:
        raise EmbeddingError(
            f"{label}: the vectors of {n_texts:,} texts, {width} numbers each, need "
            f"{needed / GB:.1f} GB while they are computed, but {available / GB:.1f} GB of memory "
            "are free. Compute them in parts and give them as `npy:FOLDER`, which is mapped."
        )


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping, within the limit of a container.

    None where the system does not say: there is no /proc/meminfo.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next((line for line in lines if line.startswith("MemAvailable:")), None)
    kilobytes = [int(free.split()[1])] if free else []
    limits = [count * 1024 for count in kilobytes] + _container_limit(root)
    return min(limits, default=None)


def _container_limit(root: Path) -> list[int]:
    """The limit of the control group (version 2) that the process sees as its root."""
    try:
        limit = (root / "sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return []
    return [int(limit)] if limit.isdigit() else []
