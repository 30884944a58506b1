from __future__ import annotations

from pathlib import Path

import pytest

from tuning.algorithms.samplers import has_points_left, make_sampler
from tuning.space import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    SamplerConfig,
    Space,
)
from tuning.study.resuming import close_running, enqueue_missing
from tuning.study.run_folder import open_study

NAMES = ["prior", "tpe", "gp", "cmaes", "random", "qmc"]


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


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_proposes_the_same_trials_also_where_the_search_was_continued(
    tmp_path: Path, tiny_space: Space, name: str
) -> None:
    if name == "cmaes":
        pytest.importorskip("cmaes")
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    space = space_with(tiny_space, name)
    whole = proposals(tmp_path / "one", space, range(4))
    parts = proposals(tmp_path / "other", space, range(2))
    parts += proposals(tmp_path / "other", space, range(2, 4))
    assert parts == whole
    assert len({str(one) for one in whole}) == 4


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_proposes_other_trials(tmp_path: Path, tiny_space: Space, name: str) -> None:
    if name == "cmaes":
        pytest.importorskip("cmaes")
    found = []
    for seed in (3, 4):
        (tmp_path / str(seed)).mkdir()
        found.append(proposals(tmp_path / str(seed), space_with(tiny_space, name, seed), range(2)))
    assert found[0] != found[1]


def test_what_a_condition_leaves_out_of_the_sequence_is_drawn_anew_each_time(
    tmp_path: Path, tiny_space: Space
) -> None:
    found = proposals(tmp_path, space_with(tiny_space, "qmc"), range(12))
    margins = [one["loss.margin"] for one in found if "loss.margin" in one]
    assert len(set(margins)) == len(margins) > 1


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
        assert has_points_left(sampler, study)
        trial = study.ask()
        found.append(str(grid_space.suggest(trial)))
        study.tell(trial, 0.5)
    assert len(set(found)) == 12
    assert not has_points_left(make_sampler(grid_space, 12), study)


def test_a_grid_tries_what_conditions_leave_alike_once(tmp_path: Path, grid_space: Space) -> None:
    margin = FloatParameter(
        type="float", low=0.1, high=0.5, step=0.2, when={"loss.name": ["triplet"]}
    )
    parameters = {**grid_space.parameters, "loss.margin": margin}
    space = Space(grid_space.header, grid_space.base, parameters)
    found = proposals(tmp_path, space, range(8))  # 2 * 3 triplets, 2 * 1 infonce
    assert len({str(one) for one in found}) == 8
    assert all(space.active(params) == params for params in found)
    study = open_study(tmp_path, "tiny")
    assert not has_points_left(make_sampler(space, 8), study)


def test_a_grid_does_not_give_out_again_what_is_at_work(tmp_path: Path, grid_space: Space) -> None:
    study = open_study(tmp_path, "tiny")
    for turn in range(12):
        study.sampler = make_sampler(grid_space, turn)
        grid_space.suggest(study.ask())
    assert not has_points_left(make_sampler(grid_space, 12), study)
    assert len({str(trial.params) for trial in study.trials}) == 12


def test_a_grid_begins_with_start_points_and_does_not_try_them_again(
    tmp_path: Path, grid_space: Space
) -> None:
    point = {"loss.name": "infonce", "loss.margin": 0.5, "circuit.n_qubits": 2}
    header = grid_space.header.model_copy(update={"start_from": [point]})
    space = Space(header, grid_space.base, grid_space.parameters)
    enqueue_missing(open_study(tmp_path, "tiny"), space)
    found = proposals(tmp_path, space, range(12))
    assert found[0] == point
    assert len({str(one) for one in found}) == 12


@pytest.mark.parametrize("asked", range(4))
def test_a_grid_goes_on_with_a_trial_that_was_killed_before_it_had_all_its_values(
    tmp_path: Path, grid_space: Space, asked: int
) -> None:
    study = open_study(tmp_path, "tiny")
    study.sampler = make_sampler(grid_space, 0)
    trial, begun = study.ask(), {}
    for name in list(grid_space.parameters)[:asked]:
        begun[name] = grid_space.parameters[name].suggest(trial, name)
    study = open_study(tmp_path, "tiny")
    close_running(study, "the search was killed")
    enqueue_missing(study, grid_space)
    found = proposals(tmp_path, grid_space, range(1, 13))
    assert begun.items() <= found[0].items()
    assert len({str(one) for one in found}) == 12
    assert not has_points_left(make_sampler(grid_space, 13), study)


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
    assert has_points_left(make_sampler(space_with(tiny_space, "random"), 0), study)


@pytest.mark.parametrize("name", ["prior", "tpe", "gp", "random", "qmc", "grid"])
def test_a_sampler_proposes_for_two_objectives_also_beside_trials_that_run(
    tmp_path: Path, grid_space: Space, name: str
) -> None:
    space = space_with(grid_space, name)
    study = open_study(tmp_path, "tiny", ["maximize", "minimize"])
    found = []
    for turn in range(5):
        study.sampler = make_sampler(space, turn)
        trial = study.ask()
        found.append(space.suggest(trial))
        if turn != 3:
            study.tell(trial, [turn / 5, float(found[-1]["circuit.n_qubits"])])
    assert all(space.active(params) == params for params in found)
