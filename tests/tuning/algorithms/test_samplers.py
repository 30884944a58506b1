from __future__ import annotations

from pathlib import Path

import pytest

from tuning.algorithms.samplers import make_sampler, points_left
from tuning.space import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    SamplerConfig,
    Space,
)
from tuning.study.history import enqueue_missing
from tuning.study.run_folder import open_study

NAMES = ["tpe", "gp", "cmaes", "random", "qmc"]


def space_with(space: Space, name: str, seed: int = 3) -> Space:
    sampler = SamplerConfig.model_validate({"name": name, "seed": seed, "startup_trials": 2})
    header = space.header.model_copy(update={"sampler": sampler, "start_from": []})
    return Space(header, space.base, space.parameters)


def proposals(folder: Path, space: Space, turns: range) -> list[dict[str, object]]:
    """What a study proposes, each trial told before the next one is asked for."""
    study = open_study(folder, "tiny")
    found = []
    for turn in turns:
        study.sampler = make_sampler(space, turn)
        trial = study.ask()
        found.append(space.suggest(trial))
        study.tell(trial, 1.0 / (turn + 1))
    return found


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_proposes_the_same_trials_also_where_the_search_was_continued(
    tmp_path: Path, tiny_space: Space, name: str
) -> None:
    if name == "cmaes":
        pytest.importorskip("cmaes")
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    space = space_with(tiny_space, name)
    whole = proposals(tmp_path / "one", space, range(5))
    parts = proposals(tmp_path / "other", space, range(2))
    parts += proposals(tmp_path / "other", space, range(2, 5))
    assert parts == whole
    assert len({str(one) for one in whole}) == 5


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", NAMES)
def test_another_seed_proposes_other_trials(tmp_path: Path, tiny_space: Space, name: str) -> None:
    if name == "cmaes":
        pytest.importorskip("cmaes")
    found = []
    for seed in (3, 4):
        (tmp_path / str(seed)).mkdir()
        found.append(proposals(tmp_path / str(seed), space_with(tiny_space, name, seed), range(2)))
    assert found[0] != found[1]


@pytest.fixture
def grid_space(tiny_space: Space) -> Space:
    """Twelve configurations."""
    space = space_with(tiny_space, "grid")
    parameters: dict[str, Parameter] = {
        "loss.name": CategoricalParameter(type="categorical", choices=["triplet", "infonce"]),
        "loss.margin": FloatParameter(type="float", low=0.1, high=0.5, step=0.2),
        "circuit.n_qubits": IntParameter(type="int", low=2, high=3),
    }
    return Space(space.header, space.base, parameters)


def test_a_grid_proposes_every_point_once_and_is_then_at_its_end(
    tmp_path: Path, grid_space: Space
) -> None:
    study = open_study(tmp_path, "tiny")
    found = []
    for turn in range(12):
        if turn == 5:  # continued
            study = open_study(tmp_path, "tiny")
        sampler = study.sampler = make_sampler(grid_space, turn)
        assert points_left(sampler, study)
        trial = study.ask()
        found.append(str(grid_space.suggest(trial)))
        study.tell(trial, 0.5)
    assert len(set(found)) == 12
    assert not points_left(make_sampler(grid_space, 12), study)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_what_is_queued_comes_first_whoever_draws(
    tmp_path: Path, tiny_space: Space, name: str
) -> None:
    space = space_with(tiny_space, name)
    header = space.header.model_copy(update={"start_from": [{}]})
    space = Space(header, space.base, space.parameters)
    enqueue_missing(open_study(tmp_path, "tiny"), space)
    assert proposals(tmp_path, space, range(1)) == space.start_points()


def test_only_a_grid_comes_to_its_end(tmp_path: Path, tiny_space: Space) -> None:
    study = open_study(tmp_path, "tiny")
    assert points_left(make_sampler(space_with(tiny_space, "random"), 0), study)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", ["tpe", "gp", "random", "qmc", "grid"])
def test_a_sampler_proposes_for_two_objectives_also_beside_trials_that_run(
    tmp_path: Path, grid_space: Space, name: str
) -> None:
    space = space_with(grid_space, name)
    study = open_study(tmp_path, "tiny", ["maximize", "minimize"])
    found = []
    for turn in range(6):
        study.sampler = make_sampler(space, turn)
        trial = study.ask()
        found.append(space.suggest(trial))
        if turn != 3:
            study.tell(trial, [turn / 6, float(found[-1]["circuit.n_qubits"])])
    assert all(space.active(params) == params for params in found)
