"""The machine: processor, cores, versions and memory."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import version
from pathlib import Path

from quantum_rerank.plural import counted


def machine() -> str:
    """Return the processor, the number of cores, and the versions that decide the speed."""
    packages = ("numpy", "torch", "numba", "pennylane-lightning")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    python = f"Python {platform.python_version()}"
    return f"{_processor()}, {counted(cores(), 'core')}, {python}, {versions}"


def cores() -> int:
    """Return the number of cores that this process may use, or of all cores if unknown."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def container_memory_left(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the bytes left below the limit of the control group, version 2 or 1.

    Cached files that the kernel can drop are not counted as used. Without a limit, the result is
    infinite.

    Args:
        root: The folder of the control groups.
    """
    versions = (
        (root, "memory.max", "memory.current", "inactive_file"),
        (
            root / "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    )
    for folder, limit, usage, cached in versions:
        try:
            left = int((folder / limit).read_text()) - int((folder / usage).read_text())
        except (OSError, ValueError):  # missing, or `max`
            continue
        return left + _counted(folder / "memory.stat", cached)
    return math.inf


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "unknown")


def _counted(path: Path, name: str) -> int:
    """Return a number of a control group's statistics, or 0 if it is missing."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
