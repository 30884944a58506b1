"""Searches that lose a worker or the connection to their storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.chaos.driver import read_events
from tests.integration.conftest import WatchedProcess
from tests.integration.quick_search import NO_MODEL, write_quick_space
from tests.postgresql import postgres_server
from tuning.records import FAILURE, FailureKind
from tuning.study.attributes import CONTINUES
from tuning.study.run_folder import load_study
from tuning.study.view import StudyView

pytestmark = [pytest.mark.ray, pytest.mark.slow]

N_TRIALS = 2
BUDGET = f"{{trials: {N_TRIALS}, epochs: 2, trial_memory_gb: 1.2}}"
Start = Callable[..., WatchedProcess]


@pytest.fixture
def start(watch: Callable[..., WatchedProcess], tmp_path: Path) -> Start:
    """Return a function that starts a search whose trials wait before their last epoch."""

    def search(*arguments: str | Path, **environment: str) -> WatchedProcess:
        return watch(
            "tests.integration.quick_search",
            *("--space", write_quick_space(tmp_path / "data", BUDGET)),
            *("--output", tmp_path / "run", "--wandb", "disabled", *arguments),
            QUICK_EPOCHS="2",
            QUICK_LAST_EPOCH_FILE=str(tmp_path / "go"),
            **environment,
        )

    return search


def reported(folder: Path) -> set[int]:
    return {event["trial"] for event in read_events(folder) if event["event"] == "reported"}


def worker_processes(driver: int) -> list[psutil.Process]:
    """Return the processes that run trials of a search."""
    children = psutil.Process(driver).children(recursive=True)
    return [child for child in children if child.name().startswith("ray::ImplicitF")]


def complete_trials(search: WatchedProcess, folder: Path) -> list[FrozenTrial]:
    """Wait until a search ends and return its trials; fail unless all are complete."""
    ended = search.end()
    assert ended.code == NO_MODEL, ended.text
    trials = load_study(folder).get_trials()
    assert all(trial.state.is_finished() for trial in trials)
    finished = StudyView(trials).finished()
    assert [trial.state for trial in finished] == [TrialState.COMPLETE] * N_TRIALS
    return trials


def test_a_trial_whose_worker_is_killed_continues_in_another_worker(
    start: Start, tmp_path: Path
) -> None:
    search = start()
    search.wait_for(lambda: bool(reported(tmp_path / "run")))
    worker_processes(search.process.pid)[0].kill()
    (tmp_path / "go").touch()
    trials = complete_trials(search, tmp_path / "run")
    (lost,) = (trial for trial in trials if FAILURE in trial.user_attrs)
    assert lost.user_attrs[FAILURE]["kind"] == FailureKind.WORKER_LOST
    (continued,) = (trial for trial in trials if CONTINUES in trial.user_attrs)
    assert continued.user_attrs[CONTINUES] == lost.number
    assert continued.params == lost.params


def test_the_youngest_trial_gives_way_while_memory_is_low_and_is_continued(
    start: Start, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    search = start(QUICK_FULL_FILE=str(full))
    search.wait_for(lambda: len(reported(tmp_path / "run")) == N_TRIALS)
    full.touch()
    search.wait_for(lambda: any(e["event"] == "ended" for e in read_events(tmp_path / "run")))
    full.unlink()
    (tmp_path / "go").touch()
    trials = complete_trials(search, tmp_path / "run")
    (relieved,) = (trial for trial in trials if FAILURE in trial.user_attrs)
    assert relieved.number == N_TRIALS - 1
    assert relieved.user_attrs[FAILURE]["kind"] == FailureKind.MEMORY_PRESSURE
    (continued,) = (trial for trial in trials if CONTINUES in trial.user_attrs)
    assert continued.user_attrs[CONTINUES] == relieved.number


@pytest.mark.extended
def test_a_search_continues_when_its_storage_server_restarts(start: Start, tmp_path: Path) -> None:
    with postgres_server() as server:
        search = start("--storage", server.url)
        search.wait_for(lambda: bool(reported(tmp_path / "run")))
        server.stop("immediate")
        server.start()
        (tmp_path / "go").touch()
        trials = complete_trials(search, tmp_path / "run")
        assert len(trials) == N_TRIALS
