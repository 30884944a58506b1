from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from experiments.plan import Task
from experiments.results import Result
from experiments.running import run_all
from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.errors import SearchError

COLLECTIONS = {"woods": {"test": "seen", "unseen_test": "unseen"}}
ENDLESS = {"training.max_epochs": 10**9, "training.early_stopping_patience": 10**9}
Running = Generator[tuple[Task, Result]]


@pytest.fixture
def running(
    small_config: Callable[..., ExperimentConfig],
    data_config: DataConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Running:
    """Start a training that ends at once and an endless one in one worker; the first has ended."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    tasks = [
        Task("woods", model, model, config.model_copy(update={"data": data_config}))
        for model, config in (
            ("cosine", small_config({"model": "cosine"})),
            ("mlp_twin", small_config({"model": "mlp_twin", **ENDLESS})),
        )
    ]
    results = run_all(tasks, COLLECTIONS, tmp_path, 1)
    task, result = next(results)
    assert (task, result.name, result.failed) == (tasks[0], "cosine", "")
    assert (tmp_path / task.result_path).is_file()
    assert os.environ["OMP_NUM_THREADS"] == "2"  # only the workers' variable is changed
    return results


@pytest.mark.extended
def test_closing_the_generator_stops_the_workers(running: Running) -> None:
    running.close()
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_killed_worker_ends_the_experiments_with_a_way_out(running: Running) -> None:
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(SearchError, match="run the same command again, with fewer --jobs"):
        next(running)
    assert not multiprocessing.active_children()
