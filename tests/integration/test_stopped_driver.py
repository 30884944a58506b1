"""Searches whose driver is stopped for a while, and searches started by `uv run`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import command, environment
from tests.integration.quick_search import NO_MODEL, write_quick_space
from tuning.records import FailureKind
from tuning.study.run_folder import EVENTS, SUMMARY

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HANG_SECONDS = 1800
ROOT = Path(__file__).parents[2]


def has_reported(folder: Path) -> bool:
    events = folder / EVENTS
    return events.exists() and '"event": "reported"' in events.read_text()


def stop_for_an_hour(process: subprocess.Popen[bytes]) -> None:
    """Stop a driver and continue it, an hour later by its clock, see `quick_search`."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    process.send_signal(signal.SIGCONT)


@contextmanager
def waiting_search(tmp_path: Path, hours: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a search with a trial that waits for the file `go` before its last epoch."""
    limits = f"hours: {hours}, epoch_minutes: 10"
    budget = f"{{trials: 1, epochs: 2, trial_memory_gb: 1.2, {limits}}}"
    space, folder = write_quick_space(tmp_path / "data", budget), tmp_path / "run"
    arguments = ("--space", space, "--output", folder, "--wandb", "disabled")
    process = subprocess.Popen(
        command("tests.integration.quick_search", *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **environment(),
            "QUICK_EPOCHS": "2",
            "QUICK_LAST_EPOCH_FILE": str(tmp_path / "go"),
        },
    )
    try:
        until = time.monotonic() + HANG_SECONDS
        while not has_reported(folder):
            assert time.monotonic() < until
            time.sleep(0.01)
        yield process
    finally:
        process.kill()


def test_the_time_in_which_a_driver_was_stopped_fails_no_trial(tmp_path: Path) -> None:
    with waiting_search(tmp_path, hours=9) as process:
        stop_for_an_hour(process)
        time.sleep(1.0)  # while it checks the deadline of its trial several times
        (tmp_path / "go").touch()
        assert process.wait(HANG_SECONDS) == NO_MODEL
    summary = json.loads((tmp_path / "run" / SUMMARY).read_text())
    assert summary["wall_seconds"] > 3600.0
    assert summary["failures"] == {}
    assert summary["states"]["complete"] == 1


@pytest.mark.extended
def test_a_search_out_of_time_ends_while_a_trial_is_running(tmp_path: Path) -> None:
    with waiting_search(tmp_path, hours=1) as process:
        stop_for_an_hour(process)
        assert process.wait(HANG_SECONDS) == NO_MODEL
    summary = json.loads((tmp_path / "run" / SUMMARY).read_text())
    assert "time budget of 1 h" in summary["ended_early"]
    (reason,) = summary["failures"].values()
    assert reason.startswith(FailureKind.INTERRUPTED)


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="uv runs what is in .venv")
@pytest.mark.extended
def test_a_search_started_by_uv_has_workers(tmp_path: Path) -> None:
    pytest.importorskip("uv")
    budget = "{trials: 1, epochs: 1, trial_memory_gb: 1.2}"
    space, folder = write_quick_space(tmp_path / "data", budget), tmp_path / "run"
    settings = {k: v for k, v in environment().items() if not k.startswith("RAY_")}
    uv = ("uv", "run", "--no-sync", "--offline", "python", "-m", "tests.integration.quick_search")
    done = subprocess.run(
        command(*uv, "--space", space, "--output", folder, "--wandb", "disabled"),
        capture_output=True,
        text=True,
        env={**settings, "UV_CACHE_DIR": str(tmp_path / "uv")},
        cwd=ROOT,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == NO_MODEL, done.stdout + done.stderr
    assert json.loads((folder / SUMMARY).read_text())["states"]["complete"] == 1
