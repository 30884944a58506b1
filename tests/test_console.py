from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from quantum_rerank.console import new_folder
from quantum_rerank.errors import OutputError
from quantum_rerank.folder_lock import locked

PROGRAM = """
import os
import signal
import time
import weakref
from pathlib import Path
import typer
from quantum_rerank.console import run
from quantum_rerank.errors import ConfigError, SearchError

app = typer.Typer()

@app.command()
def main(what: str) -> None:
    if what == "mistake":
        raise ConfigError(["first problem", "second problem"])
    if what == "disk":
        raise SearchError("no space left")
    if what == "fault":
        raise RuntimeError("a fault of ours")
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "long name":
        Path("n" * 300).exists()
    if what == "file of ours":
        Path("nowhere").read_text()
    if what in ("SIGINT", "SIGTERM", "SIGHUP"):
        os.kill(os.getpid(), signal.Signals[what])
        time.sleep(60)
    if what == "lost":
        thing = type("Thing", (), {})()
        reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del thing
        time.sleep(60)
    if what == "exit":
        raise typer.Exit(130)
    print("done")

run(app)
"""


@pytest.fixture(scope="module")
def program() -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a command line, once for all tests, that ends in the way it is asked to."""

    @cache
    def call(what: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, what]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup or not
        )

    return call


Program = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("nothing", 0),
        ("fault", 1),
        ("disk", 1),
        ("mistake", 2),
        ("long name", 2),
        ("file of ours", 1),
        ("--unknown", 2),
        ("exit", 130),
    ],
)
def test_a_command_ends_with_the_exit_code_of_its_outcome(
    program: Program, what: str, code: int
) -> None:
    assert program(what).returncode == code


def test_errors_are_printed_line_by_line_without_a_traceback(program: Program) -> None:
    ended = program("mistake")
    assert ended.stderr == "error: first problem\nerror: second problem\n"
    assert ended.stdout == ""


def test_a_failure_of_the_disk_is_printed_without_a_traceback(program: Program) -> None:
    assert program("disk").stderr == "error: no space left\n"


def test_a_path_that_is_too_long_is_an_error_without_a_traceback(program: Program) -> None:
    assert program("long name").stderr == f"error: `{'n' * 300}`: File name too long.\n"


def test_a_bug_is_printed_with_its_traceback(program: Program) -> None:
    stderr = program("fault").stderr
    assert "Traceback" in stderr
    assert "a fault of ours" in stderr


def test_an_interrupted_command_ends_with_130_and_without_a_traceback(program: Program) -> None:
    ended = program("interrupt")
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_command_with_its_code_and_without_a_traceback(
    program: Program, name: str, code: int
) -> None:
    ended = program(name)
    assert ended.returncode == code
    assert ended.stderr == ""


def test_an_interruption_lost_in_a_callback_ends_a_command(program: Program) -> None:
    ended = program("lost")
    assert ended.returncode == 130
    assert ended.stderr == ""


def test_a_new_folder_is_created_with_its_parents(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "runs" / "first")
    assert folder == tmp_path / "runs" / "first"
    assert list(folder.iterdir()) == []


def test_an_empty_folder_counts_as_new(tmp_path: Path) -> None:
    assert new_folder(tmp_path) == tmp_path


def test_a_folder_with_only_a_lock_file_counts_as_new(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    assert new_folder(tmp_path) == tmp_path


def test_a_folder_with_only_the_log_of_a_failed_start_counts_as_new(
    tmp_path: Path,
) -> None:
    (tmp_path / "search.log").touch()
    assert new_folder(tmp_path, but=["search.log"]) == tmp_path
    with pytest.raises(OutputError, match="is not empty"):
        new_folder(tmp_path)


def test_a_folder_with_files_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(OutputError, match="exists and is not empty") as caught:
        new_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_a_folder_with_only_the_probe_of_an_interrupted_command_counts_as_new(
    tmp_path: Path,
) -> None:
    (tmp_path / ".writable").touch()
    assert new_folder(tmp_path) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(OutputError):
        new_folder(file)
    assert file.read_text() == "in the way"


def test_a_folder_that_cannot_be_written_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "run"
    with pytest.raises(OutputError, match="cannot be written: Not a directory") as caught:
        new_folder(folder)
    assert f"`{folder}`" in str(caught.value)


def test_a_name_that_is_too_long_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        new_folder(tmp_path / ("n" * 300))
