from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal._base import BaseJournalSnapshot

from tuning.study.journal import WholeLines, append_whole


def test_a_journal_has_no_snapshot_which_optuna_would_unpickle(tmp_path: Path) -> None:
    journal = WholeLines(tmp_path / "journal")
    assert not isinstance(journal, BaseJournalSnapshot)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"new\n"),
        (b"one\n", b"one\nnew\n"),
        (b"one\ntw", b"one\nnew\n"),
        (b"half", b"new\n"),
        (b"one\n" + b"x" * 10_000, b"one\nnew\n"),
        (b"x" * 4096 + b"\n" + b"y" * 4096, b"x" * 4096 + b"\nnew\n"),
    ],
)
def test_a_line_is_written_in_the_place_of_half_a_line(
    file: Path, before: bytes, after: bytes
) -> None:
    file.write_bytes(before)
    append_whole(file, b"new\n")
    assert file.read_bytes() == after


def limited(path: str) -> None:
    """Write more than the system lets this process write."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        append_whole(Path(path), b"y" * 600 + b"\n")
    except OSError:
        os._exit(7)


def test_of_what_cannot_be_written_nothing_stays(file: Path) -> None:
    file.write_bytes(b"x" * 599 + b"\n")
    process = multiprocessing.get_context("fork").Process(target=limited, args=(str(file),))
    process.start()
    process.join()
    assert process.exitcode == 7
    assert file.read_bytes() == b"x" * 599 + b"\n"


def test_a_journal_that_was_cut_off_can_be_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"

    def study() -> optuna.Study:
        storage = optuna.storages.JournalStorage(WholeLines(path))
        return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)

    study().set_user_attr("kept", 1)
    study().set_user_attr("lost", 1)
    os.truncate(path, path.stat().st_size - 5)
    assert study().user_attrs == {"kept": 1}
    study().set_user_attr("new", 2)
    assert study().user_attrs == {"kept": 1, "new": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]
