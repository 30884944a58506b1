"""Searches that are interrupted between the command's start and their first trial."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.console import new_folder
from tests.integration.conftest import command, environment
from tests.integration.quick_search import write_quick_space
from tuning.study.run_folder import (
    EVENTS,
    LOG,
    RECORD,
    SUMMARY,
    load_study,
    read_record,
    recorded_space,
)
from tuning.study.storage import STUDY

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HANG_SECONDS = 1800
BUDGET = "{trials: 2, epochs: 1, trial_memory_gb: 1.2}"
RANDOM_MOMENTS = 20


def interrupted(folder: Path, data: Path, number: int, wait: Callable[[], object]) -> int:
    """Start a search, send it a signal once `wait` returns, and return its exit code."""
    space = write_quick_space(data, BUDGET, encoder="wordllama")
    process = subprocess.Popen(
        command(
            "tests.integration.quick_search",
            *("--space", space, "--output", folder, "--wandb", "disabled"),
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A trial that comes to its start in spite of the signal does not end at once.
        env={**environment(), "QUANTUM_RERANK_CACHE": str(data / "cache"), "QUICK_SECONDS": "1"},
    )
    try:
        wait()
        process.send_signal(number)
        return process.wait(HANG_SECONDS)
    finally:
        process.kill()


def until_there(path: Path) -> Callable[[], None]:
    """Wait for a file."""

    def wait() -> None:
        until = time.monotonic() + HANG_SECONDS
        while not path.exists():
            assert time.monotonic() < until, f"{path} did not appear"
            time.sleep(0.001)

    return wait


def require_whole(folder: Path) -> None:
    """A folder is as if nothing had been begun, or holds a run that can be continued."""
    if not (folder / RECORD).exists():
        new_folder(folder, but=[LOG])
        return
    recorded_space(read_record(folder))
    if (folder / STUDY).exists():
        assert all(trial.state.is_finished() for trial in load_study(folder).trials)


@pytest.mark.parametrize(
    ("file", "number", "code"),
    [
        (LOG, signal.SIGINT, 130),  # the data are being loaded and embedded
        (RECORD, signal.SIGTERM, 143),  # the study is about to be made
        (STUDY, signal.SIGINT, 130),  # Ray is about to start
        (EVENTS, signal.SIGINT, 130),  # the first trial is about to start
    ],
)
def test_an_interrupted_set_up_ends_with_its_code_and_leaves_nothing_half_done(
    tmp_path: Path, file: str, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "run"
    assert interrupted(folder, tmp_path / "data", number, until_there(folder / file)) == code
    require_whole(folder)


@pytest.mark.long
@pytest.mark.parametrize("moment", range(RANDOM_MOMENTS))
def test_no_moment_of_a_set_up_loses_an_interruption(tmp_path: Path, moment: int) -> None:
    """Between the command's start and a time after which its first trial has begun."""
    folder = tmp_path / "run"
    rng = random.Random(moment)
    seconds = rng.uniform(0.0, 15.0)
    code = interrupted(folder, tmp_path / "data", signal.SIGINT, lambda: time.sleep(seconds))
    ended = (folder / SUMMARY).exists()
    # Before Python has set its own handler, the system ends the process.
    assert code in ((130, 0) if ended else (130, -signal.SIGINT)), f"{code} after {seconds:.1f} s"
    if folder.exists():
        require_whole(folder)
