"""Searches that are interrupted before their first trial starts."""

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
    """Start a search, send it a signal after `wait` has returned, and return its exit code."""
    space = write_quick_space(data, BUDGET, encoder="wordllama")
    process = subprocess.Popen(
        command(
            "tests.integration.quick_search",
            *("--space", space, "--output", folder, "--wandb", "disabled"),
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A trial that starts in spite of the signal must not end at once.
        env={**environment(), "QUANTUM_RERANK_CACHE": str(data / "cache"), "QUICK_SECONDS": "1"},
    )
    try:
        wait()
        process.send_signal(number)
        return process.wait(HANG_SECONDS)
    finally:
        process.kill()


def until_exists(path: Path) -> Callable[[], None]:
    """Return a function that waits for a file."""

    def wait() -> None:
        until = time.monotonic() + HANG_SECONDS
        while not path.exists():
            assert time.monotonic() < until, f"{path} did not appear"
            time.sleep(0.001)

    return wait


def assert_consistent(folder: Path) -> None:
    """Fail unless a folder is empty but for the log, or holds a run that can be resumed."""
    if not (folder / RECORD).exists():
        new_folder(folder, but=[LOG])
        return
    recorded_space(read_record(folder))
    if (folder / STUDY).exists():
        assert all(trial.state.is_finished() for trial in load_study(folder).trials)


@pytest.mark.parametrize(
    ("file", "number", "code"),
    [
        (LOG, signal.SIGINT, 130),  # while the data are loaded and embedded
        pytest.param(RECORD, signal.SIGTERM, 143, marks=pytest.mark.extended),  # before the study
        pytest.param(STUDY, signal.SIGINT, 130, marks=pytest.mark.extended),  # while Ray starts
        pytest.param(EVENTS, signal.SIGINT, 130, marks=pytest.mark.extended),  # before a trial
    ],
)
def test_an_interrupted_set_up_ends_with_its_code_and_leaves_a_consistent_folder(
    tmp_path: Path, file: str, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "run"
    assert interrupted(folder, tmp_path / "data", number, until_exists(folder / file)) == code
    assert_consistent(folder)


@pytest.mark.extended
@pytest.mark.parametrize("moment", range(RANDOM_MOMENTS))
def test_a_set_up_can_be_interrupted_at_any_moment(tmp_path: Path, moment: int) -> None:
    """Interrupt at a random moment, at the latest after the first trial has started."""
    folder = tmp_path / "run"
    rng = random.Random(moment)
    seconds = rng.uniform(0.0, 15.0)
    code = interrupted(folder, tmp_path / "data", signal.SIGINT, lambda: time.sleep(seconds))
    ended = (folder / SUMMARY).exists()
    # The system ends the process if Python has not installed its handler yet.
    assert code in ((130, 0) if ended else (130, -signal.SIGINT)), f"{code} after {seconds:.1f} s"
    if folder.exists():
        assert_consistent(folder)
