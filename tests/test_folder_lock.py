from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantum_rerank.errors import OutputError
from quantum_rerank.folder_lock import LOCK, holder, locked

HOLDER = """
import sys
from pathlib import Path
from quantum_rerank.folder_lock import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()  # until the test ends this process, or is itself ended
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder, until the test or its end kills it."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_locked_folder_is_refused_until_its_process_is_killed(
    tmp_path: Path,
) -> None:
    with held_by_another(tmp_path) as process:
        for _ in range(2):
            with (
                pytest.raises(OutputError, match=f"process {process.pid}") as caught,
                locked(tmp_path),
            ):
                pytest.fail("the lock was given twice")
        assert f"`{tmp_path}`" in str(caught.value)
        process.kill()  # SIGKILL: it cannot let go by itself
        process.wait()
        with locked(tmp_path):
            pass


def test_a_folder_is_unlocked_after_success_and_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    with locked(tmp_path):
        pass


def test_folders_are_locked_separately(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with locked(tmp_path / "one"), locked(tmp_path / "other"):
        pass


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with (
        pytest.raises(OutputError, match=f"`{nowhere}` cannot be written: No such file"),
        locked(nowhere),
    ):
        pytest.fail("the lock of nothing was given")


def test_a_disk_without_locks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(OutputError, match=f"`{tmp_path}` cannot be locked: No locks available"),
        locked(tmp_path),
    ):
        pytest.fail("the lock was given")


def test_the_holder_of_a_folder_is_its_process_until_it_is_killed(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        assert holder(tmp_path) == process.pid
        process.kill()
        process.wait()
        assert holder(tmp_path) is None
        assert (tmp_path / LOCK).read_text() == str(process.pid)


def test_finding_the_holder_does_not_lock_the_folder(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    assert not list(tmp_path.iterdir())
    with locked(tmp_path):
        pass
    assert holder(tmp_path) is None
    with locked(tmp_path):
        assert holder(tmp_path) is not None


def test_a_holder_without_a_recorded_number_is_zero(tmp_path: Path) -> None:
    with held_by_another(tmp_path):
        (tmp_path / LOCK).write_text("")
        assert holder(tmp_path) == 0
