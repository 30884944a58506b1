"""The sandbox sees what a command must not do."""

from __future__ import annotations

import faulthandler
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.errors import BundleError
from tests.fuzz import sandbox
from tests.fuzz.commands import NotFiniteError
from tests.fuzz.sandbox import run_command


def refuse(folder: Path) -> None:
    raise BundleError("it is damaged")


def fail(folder: Path) -> None:
    raise KeyError("a key")


def spin(folder: Path) -> None:
    while True:
        pass


def crash(folder: Path) -> None:
    faulthandler.disable()  # whose trace would stand in the output of all tests
    os.abort()


def allocate(folder: Path) -> None:
    sys.stdout.write(str(len(bytearray(3 * 10**9))))


def write_outside(folder: Path) -> None:
    (folder.parent / "outside").write_text("x")


def connect(folder: Path) -> None:
    socket.create_connection(("203.0.113.1", 80))


def start(folder: Path) -> None:
    subprocess.run(["true"], check=True)


def unpickle(folder: Path) -> None:
    pickle.loads(b"cos\nsystem\n.")


def score(folder: Path) -> None:
    raise NotFiniteError


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (refuse, None),
        (fail, "traceback"),
        (crash, "traceback"),
        (spin, "hang"),
        (allocate, "memory"),
        (write_outside, "outside"),
        (connect, "connection"),
        (start, "code"),
        (unpickle, "code"),
        (score, "NaN"),
    ],
)
def test_a_fault_is_seen(
    command: Callable[[Path], None],
    fault: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 1)
    folder = tmp_path / "allowed"
    folder.mkdir()
    ending = run_command(command, folder, folder)
    assert fault in ending.faults if fault else not ending.faults
    assert fault is not None or ending.code == 2
