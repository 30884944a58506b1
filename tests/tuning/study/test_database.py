"""A study in SQLite is opened only where nothing in it is computed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from quantum_rerank.errors import OutputError
from tuning.study.database import MAX_STUDY
from tuning.study.reading import read_file
from tuning.study.run_folder import load_study, open_study
from tuning.study.storage import STUDY

VIEW = (
    "DROP TABLE trials; CREATE VIEW trials AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
    "x + 1 FROM c) SELECT x AS trial_id, x AS number, 1 AS study_id, 'COMPLETE' AS state FROM c"
)
TRIGGER = "CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM studies; END"
COLUMN = "ALTER TABLE trials ADD COLUMN large AS (zeroblob(1000000000))"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Write a study without trials and return its file."""
    open_study(tmp_path, "small")
    return tmp_path / STUDY


@pytest.mark.parametrize(
    "statements", [VIEW, TRIGGER, COLUMN, "CREATE VIRTUAL TABLE v USING fts5(x)"]
)
def test_what_computes_is_refused_by_readers_and_writers(study: Path, statements: str) -> None:
    with closing(sqlite3.connect(study)) as database:
        database.executescript(statements)
    for read in (lambda: read_file(study), lambda: load_study(study.parent)):
        with pytest.raises(OutputError, match="is none that a search makes"):
            read()


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal"])
def test_links_and_fifos_are_refused_by_readers_and_writers(study: Path, suffix: str) -> None:
    kinds: list[Callable[[Path], None]] = [lambda path: path.symlink_to("/dev/zero"), os.mkfifo]
    for make in kinds:
        path = Path(f"{study}{suffix}")
        path.unlink(missing_ok=True)
        make(path)
        with pytest.raises(OutputError, match=r"it is a link|not a regular file"):
            read_file(study)
        with pytest.raises(OutputError, match=r"it is a link|not a regular file|holds no run"):
            load_study(study.parent)


def test_a_study_above_the_limit_is_not_read(study: Path) -> None:
    os.truncate(study, MAX_STUDY + 1)
    with pytest.raises(OutputError, match="the limit is"):
        read_file(study)


def test_a_schema_whose_text_is_not_utf8_is_damaged(study: Path) -> None:
    content = study.read_bytes()
    for name in (b"CREATE TABLE trials", b"CREATE TABLE studies"):
        place = content.index(name) + len(b"CREATE ")
        study.write_bytes(content[:place] + b"\xf5\xa0" + content[place + 2 :])
        for read in (lambda: read_file(study), lambda: load_study(study.parent)):
            with pytest.raises(OutputError, match="damaged"):
                read()
