"""Searches with a full disk, a locked or unreachable storage, or damaged files."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.chaos.driver import read_events
from tests.integration.conftest import CommandResult, WatchedProcess, call, run
from tests.postgresql import PostgresServer, postgres_server
from tests.speed import slowness
from tuning import status
from tuning.records import FAILURE
from tuning.study.attributes import CONTINUES
from tuning.study.run_folder import load_study
from tuning.study.storage import STUDY, TRIALS
from tuning.study.trial_files import PROGRESS
from tuning.study.trials import is_cut_short
from tuning.study.view import StudyView

pytestmark = [pytest.mark.ray, pytest.mark.training, pytest.mark.extended]

N_TRIALS, EPOCHS = 3, 6
MakeSpace = Callable[..., Path]
Start = Callable[..., WatchedProcess]


@pytest.fixture
def space(make_space: MakeSpace) -> Path:
    """Write a space of a few trials whose epochs take long enough to be interrupted."""
    return small(make_space, N_TRIALS)


def small(make_space: MakeSpace, n_trials: int, epochs: int = EPOCHS) -> Path:
    """Write a space of trials that all have the same number of epochs."""
    budget = f"{{trials: {n_trials}, epochs: {epochs}, trial_memory_gb: 1.5}}"
    fixed = "training.early_stopping_patience: 1000, training.batch_size: 2, circuit.n_layers: 4"
    none = "{name: none}"
    return make_space(budget, fixed=f"{{{fixed}}}", scheduler=none, confirm_seeds="0")


@pytest.fixture(scope="session")
def patience() -> float:
    """Return the seconds that a search waits for its storage, enough to restart a server."""
    return 15.0 * slowness()


@pytest.fixture
def start(watch: Callable[..., WatchedProcess], patience: float) -> Callable[..., WatchedProcess]:
    """Return a function that starts a search that waits for its storage."""

    def search(space: Path, folder: Path, *more: str | Path, **variables: str) -> WatchedProcess:
        arguments = ("--space", space, "--output", folder, "--patience", str(patience))
        return watch("tuning.search", *arguments, *more, **variables)

    return search


def n_ended(folder: Path) -> int:
    return sum(event["event"] == "ended" for event in read_events(folder))


def n_reported(folder: Path) -> int:
    return sum(event["event"] == "reported" for event in read_events(folder))


def assert_stopped_in_order(ended: CommandResult, folder: Path) -> None:
    assert ended.code == 1, ended.text
    assert "error: The search stopped: " in ended.text
    assert f"go on with `python -m tuning.search --resume {folder}`" in ended.text
    assert "Traceback" not in ended.text


def resume(folder: Path, n_trials: int = N_TRIALS) -> list[FrozenTrial]:
    """Resume a search until its end and return its trials; none may be lost or counted twice."""
    resumed = run("tuning.search", "--resume", folder)
    assert resumed.code == 0, resumed.text
    return complete_trials(folder, n_trials)


def complete_trials(folder: Path, n_trials: int = N_TRIALS) -> list[FrozenTrial]:
    """Return the trials of a search that has ended; fail if any was lost or counted twice."""
    trials = load_study(folder).get_trials(deepcopy=False)
    assert all(trial.state.is_finished() for trial in trials)
    assert len(StudyView(trials).finished()) == n_trials
    finished = StudyView(trials).finished()
    assert len({json.dumps(trial.params, sort_keys=True) for trial in finished}) == n_trials
    continued = Counter(t.user_attrs[CONTINUES] for t in trials if CONTINUES in t.user_attrs)
    assert set(continued) == {trial.number for trial in trials if is_cut_short(trial)}
    assert set(continued.values()) <= {1}
    assert not [trial for trial in StudyView(trials).finished() if FAILURE in trial.user_attrs]
    assert (folder / "best" / "manifest.json").is_file()
    return trials


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 64 MB and return its folder."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted: this needs the rights of root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk and return the file that takes its space."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    return filler


@pytest.mark.parametrize("content", ["the trials' files", "the whole run"])
def test_a_full_disk_stops_a_search_and_fails_no_trial(
    start: Start, space: Path, small_disk: Path, tmp_path: Path, content: str
) -> None:
    is_run = content == "the whole run"
    folder = small_disk / "run" if is_run else tmp_path / "run"
    search = start(space, folder, *(() if is_run else ("--storage-path", small_disk / "files")))
    with search.stopped_when(lambda: n_ended(folder) in (1, 2)):
        filler = fill(small_disk)
    ended = search.end()
    filler.unlink()
    assert_stopped_in_order(ended, folder)
    failed = [t for t in load_study(folder).get_trials() if t.state == TrialState.FAIL]
    assert all(is_cut_short(trial) for trial in failed)
    assert len(failed) <= 3
    if not is_run:
        assert f"`{small_disk / 'files'}` cannot be used: " in ended.text
        assert "No space left on device" in ended.text
        assert any(t.user_attrs[FAILURE]["kind"] == "storage" for t in failed)
    assert len(StudyView(resume(folder)).finished()) == N_TRIALS


@contextmanager
def locked_file(folder: Path) -> Iterator[None]:
    """Lock the storage of a study, as a backup or another program may."""
    with closing(sqlite3.connect(folder / STUDY, timeout=30.0)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


def test_a_search_waits_for_a_locked_storage_and_can_be_resumed_after_waiting_too_long(
    start: Start, space: Path, patience: float, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    search = start(space, folder)
    search.wait_for(lambda: n_ended(folder) >= 1)
    with locked_file(folder):
        time.sleep(patience / 2)
    reported = n_reported(folder)
    search.wait_for(lambda: n_reported(folder) > reported)
    with locked_file(folder):
        ended = search.end()
    assert_stopped_in_order(ended, folder)
    assert "database is locked" in ended.text
    resume(folder)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def test_a_search_waits_for_a_restarted_server_and_stops_when_it_stays_away(
    start: Start, space: Path, server: PostgresServer, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    search = start(space, folder, "--storage", server.url)
    for mode in ("immediate", "fast"):
        reported = n_reported(folder)
        search.wait_for(lambda reported=reported: n_reported(folder) > reported + 2)
        server.stop(mode)
        server.start()
    reported = n_reported(folder)
    with search.stopped_when(lambda: n_reported(folder) > reported):
        assert call(status.app, folder).code == 0
        server.stop("immediate")
    assert_stopped_in_order(search.end(), folder)
    unreachable = call(status.app, folder)
    assert unreachable.code == 2
    assert "does not answer" in unreachable.text
    server.start()
    resume(folder)


def test_a_search_resumes_from_a_journal_whose_last_line_is_incomplete(
    start: Start, make_space: MakeSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    search = start(small(make_space, 3), folder, "--storage", "journal")
    search.wait_for(lambda: n_ended(folder) >= 1 and n_reported(folder) > EPOCHS)
    search.process.kill()
    search.end()
    journal = folder / "study.journal"
    os.truncate(journal, journal.stat().st_size - 7)
    assert call(status.app, folder).code == 0
    resume(folder, 3)


def test_a_damaged_checkpoint_costs_only_epochs(
    start: Start, make_space: MakeSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    search = start(small(make_space, 2, 40), folder)
    both = [folder / TRIALS / f"{trial:05d}" / PROGRESS for trial in (0, 1)]
    previous = [path.with_name(f"{path.name}.before") for path in both]
    with search.stopped_when(lambda: n_ended(folder) == 0 and all(p.exists() for p in previous)):
        search.process.kill()
    search.end()
    running = load_study(folder).get_trials()
    altered = bytearray(both[0].read_bytes())
    altered[-9] ^= 1
    both[0].write_bytes(altered)
    for path in (both[1], both[1].with_name(f"{PROGRESS}.before")):
        os.truncate(path, path.stat().st_size // 2)
    trials = resume(folder, 2)
    for trial in trials[2:]:
        values = running[trial.user_attrs[CONTINUES]].intermediate_values
        assert {epoch: trial.intermediate_values[epoch] for epoch in values} == values


def test_runs_are_written_offline_when_wandb_does_not_answer(
    start: Start, make_space: MakeSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    variables = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    search = start(small(make_space, 2, 3), folder, "--wandb", "online", **variables)
    ended = search.end()
    assert ended.code == 0, ended.text
    assert ended.text.count("W&B does not answer") == 1
    assert "wandb sync" in ended.text
    assert len(list((folder / "wandb").glob("offline-run-*/run-*.wandb"))) == 2
    complete_trials(folder, 2)
