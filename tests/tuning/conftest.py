"""Small real things for the tests of the search: a space, and a run that has ended."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.errors import QuantumRerankError
from quantum_rerank.training.trial_data import PreparedData, TrialData
from tests.tuning.reasons import recorded
from tests.tuning.trained_trial import train_an_epoch
from tuning.algorithms.samplers import make_sampler
from tuning.limits.concurrency import Concurrency
from tuning.limits.stop_signal import StopSignal
from tuning.records import FAILURE, PEAK_RSS_MB, SECONDS, TrainingsState
from tuning.space import (
    Budget,
    CategoricalParameter,
    FloatParameter,
    Header,
    IntParameter,
    SchedulerConfig,
    Space,
)
from tuning.study.resuming import enqueue_missing
from tuning.study.run_folder import open_study, read_record, recorded_run, write_record
from tuning.study.storage import TRIALS
from tuning.study.trial_files import TrialFiles
from tuning.workers.tasks import Tasks, Training

# State, and objective by epoch.
RUN: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("COMPLETE", (0.3, 0.4, 0.4)),
    ("COMPLETE", (0.3, 0.5, 0.6)),
    ("PRUNED", (0.2,)),
    ("FAIL", (0.95,)),
)


@pytest.fixture(scope="session", autouse=True)
def migrations_read_once() -> Iterator[None]:
    """Let Optuna read its migration scripts once, not half a second at each open of a storage."""
    from optuna.storages._rdb.storage import _VersionManager

    read, scripts = _VersionManager._create_alembic_script, list[Any]()

    def read_once(manager: _VersionManager) -> Any:
        if not scripts:
            scripts.append(read(manager))
        return scripts[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "_create_alembic_script", read_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def sqlite_without_waits() -> Iterator[None]:
    """Let SQLite leave its files to the system's cache, which only a power cut loses."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def without_waits(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", without_waits)
    yield
    event.remove(Engine, "connect", without_waits)


@pytest.fixture
def tiny_space(small_config: Callable[..., ExperimentConfig]) -> Space:
    """Four parameters, one of them conditional; the base is the first trial."""
    return make_tiny_space(small_config())


def make_tiny_space(base: ExperimentConfig) -> Space:
    header = Header(
        name="tiny",
        base="base.yaml",
        budget=Budget(trials=6, epochs=3, hours=1.0, trial_memory_gb=2.0),
        scheduler=SchedulerConfig(grace_period=1, reduction_factor=2.0),
        start_from=[{}],
        top_k=2,
    )
    return Space(
        header,
        base,
        {
            "loss.name": CategoricalParameter(type="categorical", choices=["triplet", "infonce"]),
            "loss.margin": FloatParameter(
                type="float", low=0.1, high=0.8, when={"loss.name": ["triplet"]}
            ),
            "optimizer.mlp_lr": FloatParameter(type="float", low=1e-4, high=1e-2, log=True),
            "circuit.n_qubits": IntParameter(type="int", low=2, high=3),
        },
    )


@pytest.fixture
def ended_run(tmp_path: Path, first_ended_run: Path) -> Path:
    """The folder of a run: two trials complete, one pruned, one failed without weights."""
    return shutil.copytree(first_ended_run, tmp_path / "run")


@pytest.fixture(scope="session")
def first_ended_run(
    tmp_path_factory: pytest.TempPathFactory,
    small_config: Callable[..., ExperimentConfig],
    data_config: DataConfig,
    prepared: PreparedData,
) -> Path:
    """The run that `ended_run` copies."""
    from optuna.trial import TrialState

    folder = tmp_path_factory.mktemp("run")
    base = small_config().model_copy(update={"data": data_config})
    space = make_tiny_space(base)
    files = TrialFiles(str(folder / TRIALS))
    study = open_study(folder, space.header.name)
    enqueue_missing(study, space)
    write_record(space, prepared, folder)
    run = recorded_run(read_record(folder))
    for turn, (state, values) in enumerate(RUN):
        study.sampler = make_sampler(space, turn)
        trial = study.ask()
        params = space.suggest(trial)
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
        trial.set_user_attr(SECONDS, 1.5)
        trial.set_user_attr(PEAK_RSS_MB, 600.0 + trial.number)
        if state == "FAIL":
            trial.set_user_attr(FAILURE, recorded("nan: the loss became nan"))
        else:
            config = space.config_for(params, trial.number)
            train_an_epoch(trial, config, prepared.trial, files, run)
        told = values[-1] if state == "COMPLETE" else None
        study.tell(trial, told, TrialState[state])
    return folder


class InThisProcess(Tasks):
    """Runs what it is given one after another, and remembers it."""

    def finished(
        self,
        purpose: str,
        function: Callable[..., Any],
        trainings: Mapping[Any, Training],
        failed: Callable[[Any, str], None],
    ) -> Iterator[tuple[Any, Any]]:
        for n_ended, (key, training) in enumerate(trainings.items()):
            if self.stop_signal():
                return
            share = n_ended / len(trainings)
            self.on_tick(TrainingsState(purpose, len(trainings), n_ended, 1, share, 0.0))
            try:
                value = function(*training.arguments, self.shared)
            except QuantumRerankError as error:
                failed(key, str(error))
                continue
            yield key, value


@pytest.fixture
def tasks(trial_data: TrialData) -> Callable[[Callable[[], None]], Tasks]:
    def make(on_tick: Callable[[], None] = lambda: None) -> Tasks:
        ending = StopSignal([], time.monotonic)
        return InThisProcess(trial_data, Concurrency(1, 1.0, ""), ending, lambda _: on_tick())

    return make
