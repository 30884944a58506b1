"""A run that comes from somebody else names a server: nothing is sent there."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from quantum_rerank.errors import ConfigError, OutputError, QuantumRerankError
from quantum_rerank.training.trial_data import PreparedData
from tuning import best_trial, search, status
from tuning.space import Space
from tuning.study.named_places import name_as_recorded, outside, refuse_unnamed, remember
from tuning.study.run_folder import EVENTS, RECORD, open_study, recorded_places, write_record
from tuning.study.storage import StorageConfig, masked

SMOKE = Path(__file__).parents[3] / "search_spaces" / "smoke.yaml"
SILENT = "postgresql://stranger@127.0.0.1:1/x"  # nobody listens there

Foreign = Callable[..., Path]

COMMANDS: dict[str, tuple[Any, Callable[[Path], tuple[object, ...]]]] = {
    "status": (status.app, lambda run: (run,)),
    "status --watch": (status.app, lambda run: (run, "--watch", "0.1")),
    "best_trial": (best_trial.app, lambda run: (run, "--output", run.parent / "bundle")),
    "--resume": (search.app, lambda run: ("--resume", run)),
    "--resume --dry-run": (search.app, lambda run: ("--resume", run, "--dry-run")),
    "--rerun": (search.app, lambda run: ("--rerun", run, "--trial", 0)),
    "--warm-start": (
        search.app,
        lambda run: ("--space", SMOKE, "--warm-start", run, "--dry-run"),
    ),
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a user who has named nothing yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PGPASSWORD", "hidden")
    return tmp_path / "state" / "quantum-rerank" / "places"


@pytest.fixture
def foreign(tiny_space: Space, prepared: PreparedData, tmp_path: Path) -> Foreign:
    """A run whose record names other places than those where it was made."""
    run = tmp_path / "run"
    run.mkdir()
    write_record(tiny_space, prepared, run)
    open_study(run, "tiny").ask()
    (run / EVENTS).touch()  # it has begun

    def make(**places: object) -> Path:
        record = json.loads((run / RECORD).read_text())
        record["storage"] = {"storage": "sqlite", "study": "tiny", "trials": ""} | places
        (run / RECORD).write_text(json.dumps(record))
        return run

    return make


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server at which connections wait until somebody looks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def url_of(listener: socket.socket) -> str:
    return f"postgresql://stranger@127.0.0.1:{listener.getsockname()[1]}/x"


def call(command: str, run: Path, *more: object) -> QuantumRerankError:
    """The error that a command ends with; it is raised again where it is none of ours."""
    app, arguments = COMMANDS[command]
    given = [str(argument) for argument in (*arguments(run), *more)]
    error = CliRunner().invoke(app, given).exception
    if not isinstance(error, QuantumRerankError):
        raise error or AssertionError(f"{command} ended without an error.")
    return error


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_this_user_has_not_named_gets_no_connection(
    foreign: Foreign, listener: socket.socket, state: Path, command: str
) -> None:
    url = url_of(listener)
    error = call(command, foreign(storage=url))
    assert isinstance(error, OutputError)
    assert f"names `{url}`, where this user has not started a search" in str(error)
    assert f"--storage {url}`" in str(error)
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert not state.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_files_at_a_place_that_this_user_has_not_named_are_not_touched(
    foreign: Foreign, tmp_path: Path, command: str
) -> None:
    (tmp_path / "mine" / "00000").mkdir(parents=True)
    (tmp_path / "mine" / "00000" / "best.safetensors").write_text("mine")
    error = call(command, foreign(trials=str(tmp_path / "mine")))
    assert f"--storage-path {tmp_path / 'mine'}`" in str(error)
    assert (tmp_path / "mine" / "00000" / "best.safetensors").read_text() == "mine"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "--warm-start"])
def test_a_server_that_a_command_names_is_asked(foreign: Foreign, command: str) -> None:
    error = call(command, foreign(storage=SILENT), "--storage", SILENT)
    assert f"`{SILENT}` does not answer" in str(error)


def test_a_server_that_was_named_once_is_asked_by_every_command(foreign: Foreign) -> None:
    run = foreign(storage=SILENT)
    call("status", run, "--storage", SILENT)
    for command in COMMANDS:
        assert f"`{SILENT}` does not answer" in str(call(command, run))


def test_a_search_that_has_its_study_where_an_earlier_one_had_may_read_that_one(
    foreign: Foreign,
) -> None:
    error = call("--warm-start", foreign(storage=SILENT), "--storage", SILENT)
    assert f"`{SILENT}` does not answer" in str(error)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "--warm-start"])
def test_a_run_is_not_asked_at_another_place_than_its_own(
    foreign: Foreign, listener: socket.socket, command: str
) -> None:
    error = call(command, foreign(storage=SILENT), "--storage", url_of(listener))
    assert isinstance(error, ConfigError)
    assert f"is not where `{foreign(storage=SILENT)}` has it" in str(error)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    "storage",
    [
        "postgresql://me:hidden@host/x",
        "postgresql://me@host/x?password=hidden",
        "postgresql://me:hidden@host/x@y",
        "sqlite:////etc/passwd",
        "sqlite:///new.db",
        "mysql://me:hidden@host/x",
        "oracle://x",
        "file:///etc",
        "postgresql+psycopg2://me@host/x",
        "",
        "x" * 100_000,
        None,
        5,
        ["sqlite"],
    ],
    ids=lambda storage: str(storage)[:40],
)
def test_a_storage_that_no_search_records_is_refused_and_its_password_not_repeated(
    foreign: Foreign, storage: object
) -> None:
    for command in COMMANDS:
        error = call(command, foreign(storage=storage))
        assert isinstance(error, OutputError)
        assert "hidden" not in str(error)
        assert len(str(error)) < 1000


@pytest.mark.parametrize(
    "trials", ["s3://key:hidden@bucket/x", "s3://b/x?secret_key=hidden", "mine", "../mine", 5]
)
def test_a_root_of_files_that_no_search_records_is_refused(
    foreign: Foreign, trials: object
) -> None:
    error = call("best_trial", foreign(trials=trials))
    assert isinstance(error, OutputError)
    assert "hidden" not in str(error)


def test_what_lies_in_the_folder_of_a_run_needs_no_name(foreign: Foreign, tmp_path: Path) -> None:
    run = foreign(storage="journal")
    inside = StorageConfig("postgresql://me@host/x", trials=str(run / "files"))
    assert recorded_places(run).storage == "journal"
    assert outside(inside, run) == ["postgresql://me@host/x"]
    (run / "link").symlink_to(tmp_path)
    assert outside(StorageConfig(trials=str(run / "link")), run) == [str(run / "link")]


def test_places_are_noted_once_and_for_this_user_alone(state: Path, tmp_path: Path) -> None:
    places = StorageConfig("postgresql://me@host/x", trials="s3://bucket/runs/7")
    for _ in range(2):
        remember(places, tmp_path)
        refuse_unnamed(places, tmp_path)
    assert len(state.read_text().splitlines()) == 2
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    with pytest.raises(OutputError):
        refuse_unnamed(StorageConfig("postgresql://me@host/x?host=stranger"), tmp_path)


def test_a_place_of_two_lines_does_not_name_the_second(tmp_path: Path) -> None:
    remember(StorageConfig(trials='s3://mine\n"s3://stranger"'), tmp_path)
    with pytest.raises(OutputError):
        refuse_unnamed(StorageConfig(trials="s3://stranger"), tmp_path)


def test_notes_that_are_damaged_name_nothing(state: Path, tmp_path: Path) -> None:
    remember(StorageConfig(trials="s3://mine"), tmp_path)
    state.write_text(state.read_text() + '"s3://mi\n\n7\n')
    refuse_unnamed(StorageConfig(trials="s3://mine"), tmp_path)


def test_a_file_of_notes_that_cannot_be_written_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="Set XDG_STATE_HOME to a folder that can be written"):
        remember(StorageConfig(trials="s3://mine"), tmp_path)
    remember(StorageConfig(), tmp_path)  # a run in its own folder needs no notes


def test_what_is_named_has_to_be_what_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which is the folder itself"):
        name_as_recorded(StorageConfig(), tmp_path, None, "s3://bucket")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("postgresql://me@host:5433/x", "postgresql://me@host:5433/x"),
        ("postgresql://me:p@ss/w:rd@host/x", "postgresql://me:***@host/x"),
        ("postgresql://:hidden@host/x", "postgresql://:***@host/x"),
        ("s3://key:hidden@bucket/x?region=eu", "s3://key:***@bucket/x?region=eu"),
        ("abfs://f@a/x?Client_Secret=hidden&b=c", "abfs://f@a/x?Client_Secret=***&b=c"),
        ("/a folder/of mine", "/a folder/of mine"),
    ],
)
def test_a_place_is_shown_without_its_passwords(place: str, shown: str) -> None:
    assert masked(place) == shown
