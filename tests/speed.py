"""Speed of this machine, for deadlines that must be met on a slow or busy one too."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache

# Time limits of Ray and W&B for the start and the answers of their processes. The defaults of
# some seconds are too short on a busy machine, on which workers of Ray's default niceness of 15
# would hardly run.
PATIENT = {
    "RAY_worker_niceness": "0",
    "RAY_raylet_start_wait_time_s": "1800",
    "RAY_worker_register_timeout_seconds": "1800",
    "RAY_gcs_rpc_server_connect_timeout_s": "60",
    "RAY_health_check_timeout_ms": "1800000",
    "WANDB__SERVICE_WAIT": "1800",
}

_REFERENCE_SECONDS = 2.5  # for the same work on two idle cores of an AMD EPYC


@cache
def slowness() -> float:
    """Return how many times slower this machine is than two idle cores of a server, at least 1.

    The work is a new Python process that imports torch, which dominates a short search. It is
    measured once per process, under the current load.
    """
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return max(1.0, (time.monotonic() - started) / _REFERENCE_SECONDS)
