"""Random moments at which processes are killed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.speed import slowness


def let_run(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for some seconds, more on a slow machine, or until a process has ended."""
    until = time.monotonic() + seconds * slowness()
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)


def changed_ns(path: Path) -> int:
    """Return the time of a file's last change in ns since 1970; 0 if it no longer exists."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
