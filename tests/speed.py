"""How slow this machine is, so that what must have a deadline has one that it can meet."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache

# How long Ray and W&B wait for their own processes to start and to answer. Their defaults of
# some seconds are too short for a machine that has much else to do.
PATIENT = {
    "RAY_raylet_start_wait_time_s": "1800",
    "RAY_worker_register_timeout_seconds": "1800",
    "RAY_gcs_rpc_server_connect_timeout_s": "60",
    "RAY_health_check_timeout_ms": "1800000",
    "WANDB__SERVICE_WAIT": "1800",
}

_REFERENCE_SECONDS = 2.5  # of the same work on two idle cores of an AMD EPYC


@cache
def slowness() -> float:
    """Measure how much slower this machine is than two idle cores of a server, at least 1.

    The work is what most of the time of a short search goes into: a new Python process that
    imports torch. It is measured once per process, under whatever load there is.
    """
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return max(1.0, (time.monotonic() - started) / _REFERENCE_SECONDS)
