from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from quantum_rerank.errors import ConfigError, MissingPackage, OutputError
from quantum_rerank.training.trial_data import PreparedData
from tests.postgresql import PostgresServer, postgres_server
from tuning.reporting.snapshot import read_snapshot
from tuning.space import Space
from tuning.study.idempotent_creation import with_token
from tuning.study.ledger import Ledger
from tuning.study.reading import read_study
from tuning.study.run_folder import (
    RECORD,
    find_study,
    has_study,
    load_study,
    open_study,
    recorded_places,
    write_record,
)
from tuning.study.storage import (
    JOURNAL,
    SQLITE,
    STUDY,
    StorageConfig,
    check_root,
    check_storage,
    connect_to_read,
    is_away,
    is_locked,
    new_study_name,
)

# What may be asked for.


@pytest.mark.parametrize(
    "text", ["sqlite", "journal", "postgresql://me@host/studies", "postgresql://host:5433/studies"]
)
def test_what_is_known_is_taken_as_it_is(text: str) -> None:
    assert check_storage(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:hidden@host/studies",
        "postgresql://me:@host/studies",
        "postgresql://me@host/studies?password=hidden",
        "postgresql://me@host/studies?sslpassword=hidden",
    ],
)
def test_a_password_is_refused_with_the_way_out_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match=r"PGPASSWORD or in ~/\.pgpass") as caught:
        check_storage(text)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "study.db", "mysql://me:hidden@host/db", "redis://host", "postgresql://me@host"]
)
def test_what_is_not_known_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ConfigError, match="Give sqlite, journal or postgresql") as caught:
        check_storage(text)
    assert "hidden" not in str(caught.value)


def test_a_folder_for_files_is_taken_from_here_and_a_uri_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_root("files") == str(tmp_path / "files")
    assert check_root("gs://bucket/a:b@c") == "gs://bucket/a:b@c"


def test_a_secret_in_a_uri_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY") as caught:
        check_root("s3://key:hidden@bucket/runs")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    ["abfs://files@account/runs?client_secret=hidden", "s3://b/runs?region=x&secret_key=hidden"],
)
def test_a_secret_among_the_options_of_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ConfigError, match="has a secret in it") as caught:
        check_root(uri)
    assert "hidden" not in str(caught.value)
    assert check_root("s3://b/runs?region=eu&scheme=http") == "s3://b/runs?region=eu&scheme=http"


def test_runs_in_one_database_have_names_of_their_own(tmp_path: Path) -> None:
    url = "postgresql://me@host/studies"
    names = {new_study_name(url, "wide", tmp_path / "first") for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("wide-first-") for name in names)
    assert new_study_name(SQLITE, "wide", tmp_path) == "wide"


# Every storage.


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(params=[SQLITE, JOURNAL, "postgresql"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> StorageConfig:
    kind = str(request.param)
    if kind == "postgresql":
        kind = request.getfixturevalue("server").url
    return StorageConfig(kind, new_study_name(kind, "tiny", tmp_path))


@pytest.fixture
def folder(
    tmp_path: Path, tiny_space: Space, prepared: PreparedData, places: StorageConfig
) -> Path:
    """A run that has begun: its record is written."""
    run = tmp_path / "run"
    run.mkdir()
    write_record(tiny_space, prepared, run, places)
    return run


def test_a_study_is_found_where_the_record_says(folder: Path, places: StorageConfig) -> None:
    assert recorded_places(folder) == places
    assert not has_study(folder)
    study = open_study(folder, "tiny", places=places)
    assert has_study(folder)
    study.set_user_attr("known", 1)
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.report(0.5, 1)
    study.tell(trial, state=TrialState.PRUNED)
    found = load_study(folder)
    assert (found.study_name, found.direction.name) == (places.study, "MAXIMIZE")
    assert found.user_attrs == {"known": 1}
    assert found.get_trials() == open_study(folder, "tiny", places=places).get_trials()
    assert [(t.value, t.intermediate_values) for t in found.get_trials()] == [(0.5, {1: 0.5})]


def test_a_run_is_read_without_writing(folder: Path, places: StorageConfig) -> None:
    study = open_study(folder, "tiny", places=places)
    Ledger(study, lambda: 0.0)
    study.ask().report(0.5, 1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    seen = read_snapshot(folder)
    assert [(t.state.name, t.intermediate_values) for t in seen.view] == [("RUNNING", {1: 0.5})]
    assert len(seen.sessions) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_study_that_is_not_there_is_named(folder: Path, places: StorageConfig) -> None:
    with pytest.raises(OutputError, match=r"holds no (run|study)"):
        load_study(folder)
    with pytest.raises(OutputError, match=r"holds no (run|study)"):
        read_study(folder, places)
    assert not [path for path in folder.iterdir() if path.name != RECORD]


def test_two_who_make_trials_make_no_trial_twice(folder: Path, places: StorageConfig) -> None:
    one, other = (open_study(folder, "tiny", places=places) for _ in range(2))
    one.enqueue_trial({"x": 0.25})
    asked = [study.ask() for study in (one, other, one, other)]
    assert sorted(trial.number for trial in asked) == [0, 1, 2, 3]
    assert sum(trial.suggest_float("x", 0.0, 1.0) == 0.25 for trial in asked) == 1


@pytest.mark.parametrize("content", [b"{]\n{}\n", b"no journal\nat all\n"])
def test_a_damaged_journal_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    places = StorageConfig(JOURNAL, "tiny")
    (tmp_path / places.file).write_bytes(content)
    with pytest.raises(OutputError, match=r"study\.journal` is damaged"):
        read_study(tmp_path, places)


# A file that is locked.


def test_a_locked_file_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    study = open_study(tmp_path, "tiny", patience=0.3)
    with closing(sqlite3.connect(tmp_path / STUDY)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Exception, match=r"locked|commit") as caught:
            study.set_user_attr("known", 1)
        assert is_locked(caught.value)
        with pytest.raises(Exception, match=r"locked|commit"):
            _ = study.user_attrs
        with pytest.raises(OutputError, match=r"study\.db` is being written to"):
            load_study(tmp_path, patience=0.3)
    assert open_study(tmp_path, "tiny").user_attrs == {}


# A server.


def test_a_server_that_does_not_answer_is_named_at_once(tmp_path: Path) -> None:
    places = StorageConfig("postgresql://me@127.0.0.1:1/studies", "tiny")
    with pytest.raises(OutputError, match=r"`postgresql://me@127.+:1/studies` does not answer"):
        open_study(tmp_path, "tiny", places=places)


def test_without_its_driver_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPackage, match=r"pip install psycopg\[binary\].*`postgresql`"):
        open_study(
            tmp_path, "tiny", places=StorageConfig("postgresql://me@127.0.0.1:1/studies", "tiny")
        )


def test_a_reader_of_a_database_cannot_write_to_it(server: PostgresServer, tmp_path: Path) -> None:
    places = StorageConfig(server.url, new_study_name(server.url, "tiny", tmp_path))
    open_study(tmp_path, "tiny", places=places)
    reader = find_study(connect_to_read(places), tmp_path, places)
    with pytest.raises(optuna.exceptions.StorageInternalError) as caught:
        reader.set_user_attr("known", 1)
    assert "read-only transaction" in str(caught.value.__cause__)
    assert not is_away(caught.value)


def test_a_trial_that_was_made_is_not_made_again(server: PostgresServer, tmp_path: Path) -> None:
    """As where the answer to a commit was lost, and the making is tried again."""
    places = StorageConfig(server.url, new_study_name(server.url, "tiny", tmp_path))
    study = open_study(tmp_path, "tiny", places=places)
    template = with_token(optuna.trial.create_trial(state=TrialState.WAITING, user_attrs={"a": 1}))
    first, again = (study._storage.create_new_trial(study._study_id, template) for _ in range(2))
    assert first == again
    other = study._storage.create_new_trial(study._study_id, with_token(template))
    assert other != first
    assert [trial.number for trial in study.get_trials()] == [0, 1]


def test_a_server_that_is_restarted_is_waited_for(tmp_path: Path) -> None:
    with postgres_server() as server:
        places = StorageConfig(server.url, new_study_name(server.url, "tiny", tmp_path))
        study = open_study(tmp_path, "tiny", places=places, patience=1800.0)
        trial = study.ask()
        server.stop("immediate")
        server.start()
        study.tell(trial, 0.5)
        study.ask()
        server.stop()
        impatient = study._storage
        impatient._seconds = 0.5  # type: ignore[attr-defined]
        with pytest.raises(Exception, match=r".") as caught:
            study.ask()
        assert is_away(caught.value)
        server.start()
        states = [t.state.name for t in open_study(tmp_path, "tiny", places=places).get_trials()]
        assert states == ["COMPLETE", "RUNNING"]
