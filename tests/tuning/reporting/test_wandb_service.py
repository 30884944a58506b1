from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tuning.reporting import wandb_service

EXITING = """
import atexit, signal, subprocess
from tuning.reporting import wandb_service
service = subprocess.Popen([{service!r}, "600"])
atexit.register(service.wait)  # as wandb does
wandb_service.limit_exit(0.3)
wandb_service.continue_stopped = lambda: []  # nothing wakes it
service.send_signal(signal.SIGSTOP)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that has the name of W&B's and sleeps."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    (tmp_path / "wandb-core").symlink_to(sleep)
    return tmp_path / "wandb-core"


@pytest.fixture
def service(program: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([str(program), "600"]) as process:
        while (
            psutil.Process(process.pid) not in wandb_service.services()
        ):  # until it has become that program
            time.sleep(0.01)
        yield process
        process.kill()


def waiting(service: subprocess.Popen[bytes]) -> threading.Thread:
    """Return a thread that waits for the service as W&B does, without a limit."""
    thread = threading.Thread(target=service.wait, daemon=True)
    thread.start()
    return thread


def test_a_stopped_process_of_wandb_is_continued(service: subprocess.Popen[bytes]) -> None:
    assert wandb_service.continue_stopped() == []
    service.send_signal(signal.SIGSTOP)
    while psutil.Process(service.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    assert wandb_service.continue_stopped() == [service.pid]
    while psutil.Process(service.pid).status() == psutil.STATUS_STOPPED:
        time.sleep(0.01)


def test_a_process_that_does_not_answer_is_killed_with_a_reason(
    service: subprocess.Popen[bytes],
) -> None:
    reason = wandb_service.finish(waiting(service), 0.3)
    assert reason == "wandb-core did not answer within 0.3 s"
    assert service.wait() == -signal.SIGKILL


def test_a_process_that_stays_stopped_is_killed_sooner_and_named(
    service: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_service, "STOPPED_SECONDS", 0.3)
    monkeypatch.setattr(wandb_service, "continue_stopped", lambda: [service.pid])
    reason = wandb_service.finish(waiting(service), 3600.0)
    assert reason == f"wandb-core (process {service.pid}) was stopped"
    assert service.wait() == -signal.SIGKILL


def test_a_thread_that_ends_in_time_has_no_reason(service: subprocess.Popen[bytes]) -> None:
    service.kill()
    assert wandb_service.finish(waiting(service), 3600.0) == ""


def test_no_other_process_is_taken_for_one_of_wandb() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.pid not in {service.pid for service in wandb_service.services()}
        process.communicate(b"\n")


def test_a_stopped_process_of_wandb_does_not_keep_a_program_from_exiting(program: Path) -> None:
    code = EXITING.format(service=str(program))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
