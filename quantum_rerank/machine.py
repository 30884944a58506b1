"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Processor, cores, and the versions that decide the speed."""
    packages = ("numpy", "torch", "numba", "pennylane-lightning")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{_processor()}, {cores()} cores, Python {platform.python_version()}, {versions}"


def cores() -> int:
    """How many this process may run on; where the system does not tell, how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "unknown")
