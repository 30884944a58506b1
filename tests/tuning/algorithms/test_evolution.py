from __future__ import annotations

import json
import os
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

pytest.importorskip("cmaes")

from tuning.algorithms.evolution import GENERATION, CmaEs
from tuning.algorithms.samplers import make_sampler
from tuning.reporting.snapshot import read_snapshot
from tuning.space import SamplerConfig, Space
from tuning.study.run_folder import load_study
from tuning.study.storage import STUDY
from tuning.study.warm_start import read_earlier

Make = Callable[[int], BaseSampler]
BEST = {"x": 0.7, "rate": 1e-2, "n": 6}
# Every name that Optuna's samplers have read a pickle from, and variations of it.
PICKLES = [
    f"{prefix}:optimizer{rest}"
    for prefix in ("cma", "sepcma", "cmawm")
    for rest in (":0", ":1", "", ":x")
]


def cma(turn: int) -> CmaEs:
    return CmaEs(seed=turn, startup_trials=2)


def distance(trial: optuna.Trial) -> float:
    """A quadratic well with its minimum at BEST, in units of each parameter's range."""
    x = trial.suggest_float("x", 0.0, 1.0)
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    n = trial.suggest_int("n", 1, 11)
    trial.suggest_categorical("kind", ["a", "b"])
    return float((x - 0.7) ** 2 + (np.log10(rate / 1e-2) / 4) ** 2 + ((n - 6) / 10) ** 2)


def values(make: Make, n_trials: int, direction: str = "minimize") -> list[float]:
    """What a study comes to, each trial told before the next one is asked for."""
    study = optuna.create_study(direction=direction)
    sign = 1.0 if direction == "minimize" else -1.0
    for turn in range(n_trials):
        study.sampler = make(turn)
        trial = study.ask()
        study.tell(trial, sign * distance(trial))
    return [sign * value for trial in study.trials if (value := trial.value) is not None]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_it_finds_the_bottom_of_a_well(direction: str) -> None:
    learned = values(cma, 120, direction)
    drawn = values(lambda turn: RandomSampler(seed=turn), 120, direction)
    assert np.mean(learned[-20:]) < 0.01 < np.mean(drawn[-20:]) / 5
    assert min(learned) < 1e-3


def proposed(storage: optuna.storages.BaseStorage, turns: range) -> list[dict[str, object]]:
    study = optuna.create_study(storage=storage, study_name="well", load_if_exists=True)
    proposals = []
    for turn in turns:
        study.sampler = cma(turn)
        trial = study.ask()
        study.tell(trial, distance(trial))
        proposals.append(trial.params)
    return proposals


def test_a_search_that_was_continued_proposes_what_an_uninterrupted_one_does() -> None:
    once, parts = (optuna.storages.InMemoryStorage() for _ in range(2))
    whole = proposed(once, range(40))
    continued = [
        params
        for turns in (range(3), range(3, 22), range(22, 40))
        for params in proposed(parts, turns)
    ]
    assert continued == whole
    trials = optuna.load_study(study_name="well", storage=parts).trials
    generations = [trial.system_attrs.get(GENERATION, 0) for trial in trials]
    assert generations == sorted(generations)
    assert generations[-1] >= 4
    # Nothing else is kept, and so no pickle.
    assert {name for trial in trials for name in trial.system_attrs} == {GENERATION}


def test_a_trial_that_completes_late_does_not_change_its_generation() -> None:
    study = optuna.create_study()

    def ask(turn: int) -> optuna.Trial:
        study.sampler = cma(turn)
        trial = study.ask()
        distance(trial)
        return trial

    for turn in range(2):
        study.tell(ask(turn), 1.0)
    late = ask(2)
    for turn in range(3, 20):
        study.tell(ask(turn), float(turn))
    proposal = ask(20).params
    assert study.trials[20].system_attrs[GENERATION] >= 1
    study.tell(late, -1.0)
    assert ask(20).params == proposal


def test_trials_that_were_stopped_or_failed_are_not_learned_from() -> None:
    study = optuna.create_study(sampler=cma(0))
    for state in [TrialState.COMPLETE] * 2 + [TrialState.PRUNED, TrialState.FAIL] * 10:
        trial = study.ask()
        value = distance(trial)
        if state == TrialState.PRUNED:
            trial.report(value, 1)
        study.tell(trial, value if state == TrialState.COMPLETE else None, state)
    assert {t.system_attrs.get(GENERATION, 0) for t in study.trials} == {0}


@pytest.mark.parametrize("generation", ["0", None, [0], {"0": 0}, -1, 10**9, 1.5])
def test_a_generation_that_nobody_has_written_is_not_one(generation: object) -> None:
    storage = optuna.storages.InMemoryStorage()
    proposed(storage, range(9))
    study = optuna.load_study(study_name="well", storage=storage)
    for trial in study.trials:
        trial.system_attrs = {GENERATION: generation}
        study.add_trial(trial)
    assert len(proposed(storage, range(18, 20))) == 2


class Planted:
    """Runs a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, (str(self._mark),)  # type: ignore[return-value]


def plant(folder: Path, key: str, mark: Path) -> None:
    """Put a pickle into a study, as the system attribute of its newest complete trial."""
    with sqlite3.connect(folder / STUDY) as database:
        newest = "SELECT max(trial_id) FROM trials WHERE state = 'COMPLETE'"
        content = json.dumps(pickle.dumps(Planted(mark)).hex())
        database.execute(
            "INSERT INTO trial_system_attributes (trial_id, key, value_json) "
            f"VALUES (({newest}), ?, ?)",
            (key, content),
        )
    database.close()


def with_sampler(space: Space, name: str) -> Space:
    sampler = SamplerConfig.model_validate({"name": name, "startup_trials": 1})
    return Space(space.header.model_copy(update={"sampler": sampler}), space.base, space.parameters)


def test_a_pickle_that_was_planted_in_a_study_is_never_executed(
    ended_run: Path, tiny_space: Space, tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    for key in PICKLES:
        plant(ended_run, key, mark)
    study = load_study(ended_run)
    for name in ("cmaes", "tpe", "gp", "random", "qmc"):
        space = with_sampler(tiny_space, name)
        study.sampler = make_sampler(space, 10)
        space.suggest(study.ask())
    assert not {name for trial in study.trials for name in trial.system_attrs} & set(PICKLES)
    read_snapshot(ended_run)
    read_earlier(ended_run)
    assert not mark.exists()


@pytest.mark.parametrize("variant", [{}, {"use_separable_cma": True}, {"with_margin": True}])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_pickle_does_not_reach_even_the_sampler_that_would_execute_it(
    ended_run: Path, tiny_space: Space, tmp_path: Path, variant: dict[str, bool]
) -> None:
    """In the storage without our filter the same pickle is executed."""
    mark = tmp_path / "executed"
    for prefix in ("cma", "sepcma", "cmawm"):
        plant(ended_run, f"{prefix}:optimizer:0", mark)
    sampler = optuna.samplers.CmaEsSampler(seed=1, warn_independent_sampling=False, **variant)
    study = load_study(ended_run)
    study.sampler = sampler
    tiny_space.suggest(study.ask())
    assert not mark.exists()
    bare = f"sqlite:///{ended_run / STUDY}"
    unfiltered = optuna.load_study(study_name="tiny", storage=bare, sampler=sampler)
    tiny_space.suggest(unfiltered.ask())
    assert mark.exists()
