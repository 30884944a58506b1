"""Forked processes with limits on time, memory and files, which are watched from inside.

The process that forks has imported everything, so that a command costs no start-up. In the child
Python's audit events tell which files are opened for writing, which connections are made, and
what would run code.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.fuzz.commands import NotFiniteError

Fault = Literal["traceback", "hang", "memory", "outside", "connection", "code", "NaN"]

CPU_SECONDS = 10
WALL_SECONDS = 60.0  # of a process that waits: other processes may need the cores
MEMORY_BYTES = 10**9  # above the process that forks
_FILE_BYTES = 2**29
_CONNECTIONS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
_CODE = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_STATISTICS = Path("/proc/self/status")


@dataclass(frozen=True)
class Ending:
    """End of a command: its faults, its exit code (None if it was killed) and its output."""

    faults: frozenset[Fault]
    code: int | None
    output: str


def run_command(command: Callable[[Path], None], folder: Path, allowed: Path) -> Ending:
    """Run a command in a forked process.

    Args:
        command: Function of the folder.
        folder: Folder that the command reads.
        allowed: Folder that may be written to.
    """
    output, events = allowed / "output.txt", allowed / "events.txt"
    base = _memory("VmRSS")
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        _in_child(command, folder, allowed, (output, events))
    status, usage = _wait(pid)
    text = output.read_text(encoding="utf-8", errors="replace")
    faults: set[Fault] = set(events.read_text(encoding="utf-8").split())  # type: ignore[arg-type]
    code = None if status is None else os.waitstatus_to_exitcode(status)
    if code is None or code == -signal.SIGXCPU:
        faults.add("hang")
    elif usage.ru_maxrss * 1024 - base > MEMORY_BYTES or "MemoryError" in text:
        faults.add("memory")
    elif code < 0 or "Traceback (most recent call last)" in text:
        faults.add("traceback")
    return Ending(frozenset(faults), code, text)


def _wait(pid: int) -> tuple[int | None, Any]:
    """Wait for a child; None if it had to be killed."""
    deadline, pause = time.monotonic() + WALL_SECONDS, 0.002
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage
        time.sleep(pause)
        pause = min(pause * 1.2, 0.05)
    os.kill(pid, signal.SIGKILL)
    return None, os.wait4(pid, 0)[2]


def _in_child(
    command: Callable[[Path], None], folder: Path, allowed: Path, files: tuple[Path, Path]
) -> None:
    """Run a command and end this process."""
    code = 70
    try:
        output, events = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in files)
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, source in ((0, null), (1, output), (2, output)):
            os.dup2(source, descriptor)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", errors="replace") for n in (1, 2))
        _limit()
        sys.addaudithook(_watch(allowed, events))
        os.chdir(allowed)
        command(folder)
        code = 0
    except NotFiniteError:
        os.write(events, b"NaN ")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException as error:
        code = 2
        if type(error).__module__ == "quantum_rerank.errors":
            print(f"error: {error}")
        else:
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = _memory("VmData") + MEMORY_BYTES * 3 // 2
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _watch(allowed: Path, events: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that notes what a command must not do, and keeps it from it."""
    folders = (str(allowed), "/dev/null", "/dev/shm")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CONNECTIONS:
            os.write(events, b"connection ")
            raise PermissionError(f"{event} {arguments}")
        if event in _CODE:
            os.write(events, b"code ")
            raise PermissionError(f"{event} {arguments}")
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = str(Path(os.fsdecode(arguments[0])).absolute())
            if arguments[2] & _WRITING and not path.startswith(folders):
                os.write(events, b"outside ")

    return hook


def _memory(name: str) -> int:
    lines = _STATISTICS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
