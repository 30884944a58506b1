"""Searches whose disk is full, whose study is locked or away, whose files are damaged."""

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
from tests.integration.conftest import Finished, Watched, call, run
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

pytestmark = [pytest.mark.ray, pytest.mark.slow]

N_TRIALS, EPOCHS = 5, 15
MakeSpace = Callable[..., Path]
Start = Callable[..., Watched]


@pytest.fixture
def space(make_space: MakeSpace) -> Path:
    """Five trials, each long enough to be met in its middle."""
    return small(make_space, N_TRIALS)


def small(make_space: MakeSpace, n_trials: int, epochs: int = EPOCHS) -> Path:
    """Trials that all have as many epochs, whichever of them is the first at a rung."""
    budget = f"{{trials: {n_trials}, epochs: {epochs}, trial_memory_gb: 1.5}}"
    fixed = "training.early_stopping_patience: 1000, training.batch_size: 2, circuit.n_layers: 4"
    space = make_space(budget, f"fixed: {{{fixed}}}")
    text = space.read_text().replace(", 8192", "").replace("confirm_seeds: 1", "confirm_seeds: 0")
    space.write_text(text.replace("name: asha, ", "name: none, "))
    return space


@pytest.fixture(scope="session")
def patience() -> float:
    """Seconds that a search waits for its study: enough for a server to be started again."""
    return 15.0 * slowness()


@pytest.fixture
def start(watch: Callable[..., Watched], patience: float) -> Callable[..., Watched]:
    """Start a search that is patient."""

    def search(space: Path, folder: Path, *more: str | Path, **variables: str) -> Watched:
        where = ("--space", space, "--output", folder, "--patience", str(patience))
        return watch("tuning.search", *where, *more, **variables)

    return search


def n_ended(folder: Path) -> int:
    return sum(event["event"] == "ended" for event in read_events(folder))


def n_reported(folder: Path) -> int:
    return sum(event["event"] == "reported" for event in read_events(folder))


def stopped_in_order(ended: Finished, folder: Path) -> None:
    assert ended.code == 1, ended.text
    assert "error: The search stopped: " in ended.text
    assert f"go on with `python -m tuning.search --resume {folder}`" in ended.text
    assert "Traceback" not in ended.text


def went_on(folder: Path, n_trials: int = N_TRIALS) -> list[FrozenTrial]:
    """Continue a search to its end; its trials, of which none was lost or told twice."""
    resumed = run("tuning.search", "--resume", folder)
    assert resumed.code == 0, resumed.text
    return complete(folder, n_trials)


def complete(folder: Path, n_trials: int = N_TRIALS) -> list[FrozenTrial]:
    trials = load_study(folder).get_trials(deepcopy=False)
    assert all(trial.state.is_finished() for trial in trials)
    assert len(StudyView(trials).finished()) == n_trials
    assert (
        len({json.dumps(trial.params, sort_keys=True) for trial in StudyView(trials).finished()})
        == n_trials
    )
    continued = Counter(t.user_attrs[CONTINUES] for t in trials if CONTINUES in t.user_attrs)
    assert set(continued) == {trial.number for trial in trials if is_cut_short(trial)}
    assert set(continued.values()) <= {1}
    assert not [trial for trial in StudyView(trials).finished() if FAILURE in trial.user_attrs]
    assert (folder / "best" / "manifest.json").is_file()
    return trials


# The disk.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root's rights")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more fits."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    return filler


@pytest.mark.parametrize(
    "on_it", ["the trials' files", pytest.param("the whole run", marks=pytest.mark.long)]
)
def test_a_full_disk_stops_a_search_and_is_no_trial_s_fault(
    start: Start, space: Path, small_disk: Path, tmp_path: Path, on_it: str
) -> None:
    is_run = on_it == "the whole run"
    folder = small_disk / "run" if is_run else tmp_path / "run"
    search = start(space, folder, *(() if is_run else ("--storage-path", small_disk / "files")))
    with search.stopped_when(lambda: n_ended(folder) in (2, 3)):
        filler = fill(small_disk)
    ended = search.end()
    filler.unlink()
    stopped_in_order(ended, folder)
    failed = [t for t in load_study(folder).get_trials() if t.state == TrialState.FAIL]
    assert all(is_cut_short(trial) for trial in failed)
    assert len(failed) <= 3
    if not is_run:
        assert f"`{small_disk / 'files'}` cannot be used: " in ended.text
        assert "No space left on device" in ended.text
        assert any(t.user_attrs[FAILURE]["kind"] == "storage" for t in failed)
    assert len(StudyView(went_on(folder)).finished()) == N_TRIALS


# The study.


@contextmanager
def locked_file(folder: Path) -> Iterator[None]:
    """Hold a study as a backup or another program might."""
    with closing(sqlite3.connect(folder / STUDY, timeout=30.0)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.long
def test_a_locked_study_is_waited_for_and_a_search_that_waited_too_long_can_go_on(
    start: Start, space: Path, patience: float, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    search = start(space, folder)
    search.wait_for(lambda: n_ended(folder) >= 1)
    with locked_file(folder):
        time.sleep(patience / 2)
    before = n_reported(folder)
    search.wait_for(lambda: n_reported(folder) > before)
    with locked_file(folder):
        began = time.monotonic()
        ended = search.end()
        assert patience - 1.0 <= time.monotonic() - began
    stopped_in_order(ended, folder)
    assert "database is locked" in ended.text
    went_on(folder)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def test_a_server_that_is_restarted_is_waited_for_and_one_that_stays_away_stops_the_search(
    start: Start, space: Path, server: PostgresServer, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    search = start(space, folder, "--storage", server.url)
    for mode in ("immediate", "fast"):
        before = n_reported(folder)
        search.wait_for(lambda before=before: n_reported(folder) > before + 4)
        server.stop(mode)
        server.start()
    before = n_reported(folder)
    with search.stopped_when(lambda: n_reported(folder) > before):
        assert call(status.app, folder).code == 0
        server.stop("immediate")
    stopped_in_order(search.end(), folder)
    away = call(status.app, folder)
    assert (away.code, "does not answer" in away.text) == (2, True), away.text
    server.start()
    went_on(folder)


@pytest.mark.long
def test_a_journal_that_lost_the_end_of_its_last_line_goes_on(
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
    went_on(folder, 3)


# What a trial wrote down.


def test_a_damaged_checkpoint_costs_epochs_and_nothing_else(
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
    trials = went_on(folder, 2)
    for trial in trials[2:]:
        before = running[trial.user_attrs[CONTINUES]].intermediate_values
        assert {epoch: trial.intermediate_values[epoch] for epoch in before} == before


# W&B.


@pytest.mark.long
def test_wandb_that_does_not_answer_costs_seconds_and_its_runs_lie_offline(
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
    complete(folder, 2)
