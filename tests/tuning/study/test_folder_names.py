"""A run's study lies in its folder and is read from there, whatever characters its name has."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from quantum_rerank.errors import ConfigError, OutputError
from quantum_rerank.training.trial_data import PreparedData
from tuning.reporting.snapshot import read_snapshot
from tuning.space import Space
from tuning.study.ledger import Ledger
from tuning.study.reading import read_study, read_trials
from tuning.study.run_folder import RECORD, load_study, open_study, write_record
from tuning.study.storage import (
    JOURNAL,
    STUDY,
    StorageConfig,
    connect,
    refuse_long_path,
    sqlite_url,
)
from tuning.study.warm_start import read_earlier

NAMES = [
    "a space", "50%20", "lr=1?mode=ro", "#1", "[b]", "it's", 'say "so"', "{x}", "a:b\\c",
    "two\nlines", "\u6a39\u00e4\U0001f333", "x" * 190 + "\u00fc" * 10,
]  # fmt: skip


def make_run(folder: Path, space: Space, prepared: PreparedData, value: float) -> None:
    """Make a run with a trial of a value."""
    folder.mkdir()
    write_record(space, prepared, folder)
    study = open_study(folder, space.header.name)
    Ledger(study, lambda: 0.0).write()
    study.tell(study.ask(), value)


@pytest.mark.parametrize("name", NAMES)
def test_two_runs_with_like_names_have_a_study_each(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path, name: str
) -> None:
    runs = {tmp_path / "runs" / name: 0.1, tmp_path / "runs" / f"{name}?": 0.2}
    (tmp_path / "runs").mkdir()
    for folder, value in runs.items():
        make_run(folder, tiny_space, prepared, value)
    assert set((tmp_path / "runs").iterdir()) == runs.keys()
    for folder, value in runs.items():
        assert {path.name for path in folder.iterdir()} == {RECORD, STUDY}
        assert [trial.value for trial in read_snapshot(folder).view] == [value]
        assert [trial.value for trial in load_study(folder).get_trials()] == [value]
        assert [trial.value for trial in read_earlier(folder).trials] == [value]


@pytest.mark.parametrize("name", NAMES)
def test_a_journal_lies_in_its_folder_too(tmp_path: Path, name: str) -> None:
    folder, places = tmp_path / name, StorageConfig(JOURNAL)
    folder.mkdir()
    study = open_study(folder, "tiny", places=places)
    study.tell(study.ask(), 0.3)
    assert [path.name for path in folder.iterdir()] == [places.file]
    assert [trial.value for trial in read_study(folder, places)[1]] == [0.3]


@pytest.mark.parametrize("name", NAMES)
def test_the_url_of_a_study_names_its_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / STUDY
    assert make_url(sqlite_url(path)).database == str(path)


def test_a_path_that_sqlite_cannot_open_is_refused(tmp_path: Path) -> None:
    longest = tmp_path
    while (left := 504 - len(str(longest / STUDY))) > 1:
        longest = longest / ("x" * min(left - 1, 200))
    longest.mkdir(parents=True)
    open_study(longest, "tiny")
    too_long = longest.with_name(f"{longest.name}xx")
    too_long.mkdir()
    with pytest.raises(ConfigError, match="SQLite takes 504 at most"):
        open_study(too_long, "tiny")
    refuse_long_path(too_long, StorageConfig(JOURNAL))
    open_study(too_long, "tiny", places=StorageConfig(JOURNAL))


def of_another_optuna(folder: Path, version: str) -> None:
    """Make a study whose tables another version of Optuna has made."""
    open_study(folder, "tiny")
    with closing(sqlite3.connect(folder / STUDY)) as database:
        database.execute("update alembic_version set version_num = ?", (version,))
        database.commit()


@pytest.mark.parametrize(
    ("version", "way_out"),
    [
        ("v6.0.0.a", "Install the version that wrote it, or start a new search"),
        ("v2.6.0.a", "`optuna storage upgrade --storage 'sqlite:///"),
    ],
)
def test_a_study_of_another_optuna_is_told_with_the_way_out(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path, version: str, way_out: str
) -> None:
    folder = tmp_path / "lr 1"
    folder.mkdir()
    write_record(tiny_space, prepared, folder)
    of_another_optuna(folder, version)
    for read in (
        load_study,
        read_trials,
        read_earlier,
        lambda one: connect(one, StorageConfig()),
    ):
        with pytest.raises(OutputError, match="another version of Optuna") as caught:
            read(folder)
        assert way_out.replace("'", "") in str(caught.value).replace("'", "")
        assert len(str(caught.value).splitlines()) == 1


def test_a_journal_of_another_optuna_is_told_with_the_way_out(tmp_path: Path) -> None:
    study = open_study(tmp_path, "tiny", places=StorageConfig(JOURNAL))
    study.tell(study.ask(), 0.3)
    with (tmp_path / StorageConfig(JOURNAL).file).open("a") as journal:
        journal.write('{"op_code": 99, "worker_id": "new"}\n')
    with pytest.raises(OutputError, match="another version of Optuna"):
        read_study(tmp_path, StorageConfig(JOURNAL))
