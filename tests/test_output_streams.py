from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from quantum_rerank.output_streams import READER_GONE_EXIT_CODE

PROGRAM = """
import sys
import warnings
import typer
from quantum_rerank.console import run, say
from quantum_rerank.errors import ConfigError
from quantum_rerank.output_streams import as_a_display, write_result

app = typer.Typer()

@app.command()
def main(kind: str, lines: int) -> None:
    if kind == "mistake":
        print("line")
        raise ConfigError("a mistake in \\x1b[2J")
    if kind == "fault":
        print("line")
        raise RuntimeError("a fault of ours")
    if kind == "said":
        say("Wrote \\x1b[2J\\u2026")
        return
    if kind == "warned":
        warnings.warn("see \\x1b[2J", stacklevel=1)
        return
    if kind == "result":
        write_result(["caf\\u00e9\\n"] * lines)
    else:
        with as_a_display():
            for _ in range(lines):
                print("a line\\u2026")
    print("whole", file=sys.stderr)

run(app)
"""


def started(kind: str, lines: int, stdout: int, **named: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, str(lines)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        **named,
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code and what was written to standard error."""
    _, stderr = process.communicate()
    return process.returncode, stderr.decode()


def into_a_pipe_without_a_reader(kind: str, lines: int) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)
    process = started(kind, lines, writer)
    os.close(writer)
    return ended(process)


def into_a_full_disk(kind: str, lines: int) -> tuple[int, str]:
    with Path("/dev/full").open("wb") as full:
        return ended(started(kind, lines, full.fileno()))


def into_a_terminal_that_was_closed(kind: str, lines: int) -> tuple[int, str]:
    terminal, end = pty.openpty()
    process = started(kind, lines, end)
    os.close(end)
    os.close(terminal)
    return ended(process)


BROKEN = [into_a_pipe_without_a_reader, into_a_full_disk, into_a_terminal_that_was_closed]


@pytest.mark.parametrize(
    ("broken", "lines"), [(into_a_full_disk, 1), *((broken, 5000) for broken in BROKEN)]
)
def test_a_command_with_a_broken_display_continues_and_logs_it_once(
    broken: type, lines: int
) -> None:
    code, stderr = broken("display", lines)
    assert code == 0
    assert stderr.count("Standard output cannot be written any more") == 1
    assert "whole" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("lines", [1, 5000])
def test_a_command_without_a_reader_of_its_result_ends_quietly(lines: int) -> None:
    assert into_a_pipe_without_a_reader("result", lines) == (READER_GONE_EXIT_CODE, "")


def test_a_result_that_cannot_be_written_is_an_error_with_its_reason() -> None:
    reason = os.strerror(errno.ENOSPC)
    assert into_a_full_disk("result", 1) == (
        1,
        f"error: standard output cannot be written: {reason}.\n",
    )


@pytest.mark.parametrize("broken", BROKEN)
def test_an_error_keeps_its_exit_code_with_broken_output(broken: type) -> None:
    code, stderr = broken("mistake", 1)
    assert code == 2
    assert stderr.startswith("error: a mistake")


@pytest.mark.parametrize("broken", BROKEN)
def test_a_bug_keeps_its_traceback_with_broken_output(broken: type) -> None:
    code, stderr = broken("fault", 1)
    assert code == 1
    assert "RuntimeError: a fault of ours" in stderr
    assert "Exception ignored" not in stderr


@pytest.mark.parametrize("broken", BROKEN)
def test_a_message_does_not_fail_a_command_with_broken_output(broken: type) -> None:
    assert broken("said", 1)[0] == 0


def test_a_broken_standard_error_does_not_hide_the_result() -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM, "display", "1"],
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
        )
    assert process.returncode == 0
    assert process.stdout.decode() == "a line…\n"


def test_a_closed_standard_output_is_no_error() -> None:
    process = started("display", 1, 1, preexec_fn=lambda: os.close(1))
    assert ended(process)[0] == 0


@pytest.mark.parametrize(
    ("encoding", "line"),
    [("utf-8", b"a line\xe2\x80\xa6\n"), ("latin-1", b"a line\\u2026\n"), ("ascii:strict", b"")],
)
def test_characters_that_an_encoding_lacks_are_written_as_escapes(
    encoding: str, line: bytes
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    process = started("display", 1, subprocess.PIPE, env=environment)
    printed, _ = process.communicate()
    assert printed == (line or b"a line\\u2026\n")
    assert process.returncode == 0


def test_a_result_is_utf8_for_every_encoding_of_the_terminal() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = started("result", 1, subprocess.PIPE, env=environment)
    assert process.communicate()[0] == "café\n".encode()


@pytest.mark.parametrize("kind", ["mistake", "said", "warned"])
def test_no_escape_sequence_of_a_text_reaches_the_terminal(kind: str) -> None:
    process = started(kind, 1, subprocess.PIPE)
    printed, stderr = process.communicate()
    assert b"[2J" in printed + stderr
    assert b"\x1b" not in printed + stderr
