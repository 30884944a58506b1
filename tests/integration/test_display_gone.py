"""Searches whose standard output or terminal is closed, or whose names look like markup."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import command, environment
from tests.integration.quick_search import NO_MODEL, write_quick_space
from tuning.study.run_folder import LOG, SUMMARY, load_study

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HANG_SECONDS = 1800
BUDGET = "{trials: 2, epochs: 1, trial_memory_gb: 1.2}"
N_TRIALS = 2
DROPPED = "Standard output cannot be written any more"


def quick_search(space: Path, folder: Path) -> list[str]:
    arguments = ("--space", space, "--output", folder, "--wandb", "disabled")
    return command("tests.integration.quick_search", *arguments)


def summary(folder: Path) -> dict:
    return json.loads((folder / SUMMARY).read_text())


def test_a_search_continues_when_its_standard_output_is_closed(tmp_path: Path) -> None:
    space, folder = write_quick_space(tmp_path / "data", BUDGET), tmp_path / "run"
    with subprocess.Popen(
        quick_search(space, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **environment(),
            "PYTHONUNBUFFERED": "1",
        },
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if b"trial   0" in line:
                break
        process.stdout.close()
        process.stderr.close()
        assert process.wait(HANG_SECONDS) == NO_MODEL
    assert summary(folder)["n_trials"] == N_TRIALS
    assert (folder / LOG).read_text().count(DROPPED) == 1


def run_in_a_closing_terminal(
    arguments: list[str], prepare: Callable[[], object], **variables: str
) -> int:
    """Run a command in a terminal that is closed once trial 0 has ended.

    Args:
        arguments: Command line.
        prepare: Function called in the process of the command before it starts.
        variables: Further environment variables.

    Returns:
        Exit code of the command.
    """
    process, terminal = pty.fork()
    if not process:
        prepare()
        settings = {"PYTHONUNBUFFERED": "1", "TERM": "xterm", **variables}
        os.execve(arguments[0], arguments, {**environment(), **settings})
    output = b""
    while b"trial   0 " not in output or b"complete" not in output:
        output += os.read(terminal, 65536)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.extended
def test_a_search_under_nohup_continues_when_its_terminal_closes(tmp_path: Path) -> None:
    space, folder = write_quick_space(tmp_path / "data", BUDGET), tmp_path / "run"
    code = run_in_a_closing_terminal(
        quick_search(space, folder), lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    assert code == NO_MODEL
    assert summary(folder)["n_trials"] == N_TRIALS
    assert (folder / LOG).read_text().count(DROPPED) == 1


@pytest.mark.extended
def test_a_search_ends_in_order_when_its_terminal_closes(tmp_path: Path) -> None:
    budget = "{trials: 1000, epochs: 1, trial_memory_gb: 1.2}"
    space, folder = write_quick_space(tmp_path / "data", budget), tmp_path / "run"
    code = run_in_a_closing_terminal(
        quick_search(space, folder),
        lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        QUICK_SECONDS="0.5",
    )
    assert code == 129
    assert summary(folder)["ended_early"] == "SIGHUP"
    assert all(trial.state.is_finished() for trial in load_study(folder).trials)


@pytest.mark.extended
def test_names_that_look_like_markup_or_terminal_codes_are_printed_as_text(tmp_path: Path) -> None:
    name = "a[/b] [red]\x1b]0;owned"
    budget = "{trials: 1, epochs: 1, trial_memory_gb: 1.2}"
    space = write_quick_space(tmp_path / f"data {name}", budget, name)
    folder = tmp_path / f"run {name}"
    done = subprocess.run(
        quick_search(space, folder),
        capture_output=True,
        text=True,
        env={**environment(), "FORCE_COLOR": "1"},
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == NO_MODEL, done.stdout + done.stderr
    assert "a[/b] [red]�]0;owned" in done.stdout
    assert "\x1b]0;" not in done.stdout + done.stderr
    assert summary(folder)["n_trials"] == 1
