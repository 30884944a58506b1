"""W&B's own process, `wandb-core`, which may hang or be stopped while the search ends.

W&B waits for it without a limit, when a run is closed and when the interpreter exits.
"""

from __future__ import annotations

import atexit
import signal
import threading
import time
from contextlib import suppress

import psutil

STOPPED_SECONDS = 8.0
"""Seconds that a process which was stopped has to finish, once it was continued."""

_NAME = "wandb-core"
_STEP_SECONDS = 0.2


def services() -> list[psutil.Process]:
    """Return the processes of W&B that this process has started."""
    with suppress(psutil.Error):
        return [child for child in psutil.Process().children() if _is_service(child)]
    return []


def continue_stopped() -> list[int]:
    """Continue W&B's processes that are stopped, as by SIGSTOP; return their ids."""
    continued = []
    for service in services():
        with suppress(psutil.Error):
            if service.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
                service.send_signal(signal.SIGCONT)
                continued.append(service.pid)
    return continued


def finish(thread: threading.Thread, seconds: float) -> str:
    """Wait for a thread that talks to W&B; kill W&B's processes if it takes too long.

    Args:
        thread: Thread that ends once W&B has answered.
        seconds: Longest wait; shorter where a process of W&B was stopped.

    Returns:
        The reason for which W&B was given up; empty if the thread has ended.
    """
    end = time.monotonic() + seconds
    reason = f"{_NAME} did not answer within {seconds:g} s"
    while thread.is_alive() and time.monotonic() < end:
        if stopped := continue_stopped():
            reason = f"{_NAME} (process {stopped[0]}) was stopped"
            end = min(end, time.monotonic() + STOPPED_SECONDS)
        thread.join(_STEP_SECONDS)
    if not thread.is_alive():
        return ""
    _kill()
    return reason


def limit_exit(seconds: float) -> None:
    """Kill W&B's processes if they keep this process from exiting for so many seconds."""
    atexit.register(_watch, seconds)  # called before W&B's own function, which waits


def _watch(seconds: float) -> None:
    threading.Thread(target=_kill_after, args=(seconds,), daemon=True).start()


def _kill_after(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and services():
        continue_stopped()
        time.sleep(_STEP_SECONDS)
    _kill()


def _kill() -> None:
    for service in services():
        with suppress(psutil.Error):
            service.kill()


def _is_service(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.name() == _NAME and process.status() != psutil.STATUS_ZOMBIE)
    return False
