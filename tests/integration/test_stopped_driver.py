"""A search whose driver is stopped for a while, and searches that `uv run` starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.conftest import command, environment
from tests.integration.quick_search import NO_MODEL, write_quick_space
from tuning.study.run_folder import EVENTS, SUMMARY

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HANG_SECONDS = 1800
ROOT = Path(__file__).parents[2]


def has_reported(folder: Path) -> bool:
    events = folder / EVENTS
    return events.exists() and '"event": "reported"' in events.read_text()


def test_the_time_in_which_a_driver_was_stopped_fails_no_trial(tmp_path: Path) -> None:
    budget = "{trials: 1, epochs: 2, trial_memory_gb: 1.2, hours: 9, epoch_minutes: 10}"
    space, folder, go = write_quick_space(tmp_path / "data", budget), tmp_path / "run", "go"
    arguments = ("--space", space, "--output", folder, "--wandb", "disabled")
    process = subprocess.Popen(
        command("tests.integration.quick_search", *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **environment(),
            "QUICK_EPOCHS": "2",
            "QUICK_LAST_EPOCH_FILE": str(tmp_path / go),
        },
    )
    try:
        until = time.monotonic() + HANG_SECONDS
        while not has_reported(folder):
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        process.send_signal(signal.SIGCONT)  # an hour later, by its clock
        time.sleep(1.0)  # in which it looks at its trial's deadline several times
        (tmp_path / go).touch()
        assert process.wait(HANG_SECONDS) == NO_MODEL
    finally:
        process.kill()
    summary = json.loads((folder / SUMMARY).read_text())
    assert summary["wall_seconds"] > 3600.0
    assert summary["failures"] == {}
    assert summary["states"]["complete"] == 1


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="uv runs what is in .venv")
def test_a_search_that_uv_starts_has_workers(tmp_path: Path) -> None:
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
