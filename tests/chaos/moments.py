"""When to kill: what all that kill processes at random moments share."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.speed import slowness


def let_run(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Return after some seconds, more on a slow machine, or when a process has ended."""
    until = time.monotonic() + seconds * slowness()
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)


def changed_ns(path: Path) -> int:
    """When a file last changed, in ns since 1970; 0 where it has gone, being whole by now."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
