from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from quantum_rerank.circuits.choice import fastest_engine
from quantum_rerank.config import load_config, override
from quantum_rerank.errors import ConfigError
from quantum_rerank.similarity import MODELS, build_head
from tuning.algorithms.samplers import make_sampler
from tuning.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Space
from tuning.space.file import load_space
from tuning.space.mutation import mutable_keys

ROOT = Path(__file__).parents[3]
SHIPPED = [ROOT / "search_spaces" / name for name in ("default.yaml", "smoke.yaml")]

HEADER = """\
name: tiny
base: base.yaml
budget: {trials: 4, epochs: 3}
parameters:
  loss.name: {type: categorical, choices: [triplet, infonce]}
"""
SHARED = {"warmup.seed": 0, "warmup.dropout": 0.1}
TRIPLET = "when: {loss.name: [triplet]}"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a space file beside an empty base."""
    (tmp_path / "base.yaml").write_text("model: hybrid\n")

    def file(text: str) -> Path:
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return path

    return file


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_space(path)
    return caught.value.problems


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_space_that_is_shipped_loads(path: Path) -> None:
    space = load_space(path)
    assert space.header.name == path.stem
    assert space.base.training.max_epochs == space.header.budget.epochs


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_an_empty_start_point_is_the_configuration_of_the_base(path: Path) -> None:
    space = load_space(path)
    *others, last = space.start_points()
    assert space.config_for(last, number=0) == space.base
    assert len(others) == (2 if space.header.name == "default" else 0)


def test_a_first_trial_of_the_default_space_has_the_numbers_of_the_task() -> None:
    space = load_space(SHIPPED[0])
    # All that differs is that trials share their warm-up, and have a gate.
    changes = SHARED | {"fusion.gate": "nearest"}
    task = override(load_config(ROOT / "configs" / "training_config.yaml"), changes)
    first = space.config_for(space.start_points()[-1], number=0)
    for section in ("circuit", "mlp", "fusion", "warmup", "loss", "optimizer"):
        assert getattr(first, section) == getattr(task, section)


def test_the_default_space_starts_from_the_tuned_numbers_too() -> None:
    space = load_space(SHIPPED[0])
    tuned = override(load_config(ROOT / "configs" / "tuned_config.yaml"), SHARED)
    by_amplitudes, by_a_circuit = (
        space.config_for(point, number=0) for point in space.start_points()[:2]
    )
    assert (by_amplitudes.model, by_a_circuit.model) == (tuned.model, "hybrid")
    for config in (by_amplitudes, by_a_circuit):
        assert config.circuit.n_qubits == tuned.circuit.n_qubits
        for section in ("mlp", "fusion", "warmup", "loss", "optimizer"):
            assert getattr(config, section) == getattr(tuned, section)
        assert config.training.batch_size == tuned.training.batch_size
        assert config.training.embedding_noise == tuned.training.embedding_noise


def test_a_space_that_names_only_what_is_trained_on_has_no_unseen_collections(
    write: Write,
) -> None:
    data = load_space(write(HEADER + "data: {seen: ['csv:clicks.csv']}\n")).base.data
    assert (data.seen, data.unseen_validation, data.unseen_test) == (("csv:clicks.csv",), (), ())
    data = load_space(write(HEADER + "data: {candidates: 50}\n")).base.data
    assert data == load_config(None).data.model_copy(update={"candidates": 50})


OF_ARMS = f"""\
name: models
base: base.yaml
budget: {{trials: 4, epochs: 3}}
parameters:
  model: {{type: categorical, choices: [{", ".join(MODELS)}]}}
  optimizer.mlp_lr: {{type: float, low: 0.0001, high: 0.01, log: true}}
  circuit.entangler:
    type: categorical
    choices: [cnot_chain, zz_ring, none]
    when: {{model: [hybrid, frozen_circuit, quantum_only]}}
  linear.rank:
    type: int
    low: 8
    high: 128
    log: true
    when: {{model: [linear_projection, discriminant, low_rank_bilinear]}}
"""
SUGGESTED = {"optimizer.mlp_lr": 0.002, "circuit.entangler": "none", "linear.rank": 32}


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_a_parameter_like_any_other(write: Write, model: str) -> None:
    space = load_space(write(OF_ARMS))
    chosen = space.suggest(FixedTrial({"model": model, **SUGGESTED}))
    config = space.config_for(chosen, number=3)
    assert config.model == model
    assert build_head(config, 16).n_trained >= 0
    # A parameter of other models is not asked for, and stays as in the base.
    assert (
        ("linear.rank" in chosen)
        == (config.linear.rank == 32)
        == ("linear" in MODELS[model].components)
    )
    assert ("circuit.entangler" in chosen) == ("entangler" in MODELS[model].components)


def test_a_space_over_models_starts_with_the_base_and_copies_models_to_clones(write: Write) -> None:
    space = load_space(write(OF_ARMS + "start_from: [{}]\n"))
    (start,) = space.start_points()
    assert space.config_for(start, number=0) == space.base
    assert mutable_keys(space) == ["optimizer.mlp_lr"]


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        pytest.param(
            "circuit.n_qubit: {type: int, low: 2, high: 4}",
            ["`circuit.n_qubit` is not a known key", "Did you mean `circuit.n_qubits`?"],
            id="unknown key",
        ),
        pytest.param(
            "circuit.n_qubits: {type: int, low: 2, high: 4, stepp: 2}",
            ["`circuit.n_qubits.stepp` is not a known key", "Did you mean `step`?"],
            id="unknown key of a parameter",
        ),
        pytest.param(
            "circuit.n_qubits: {type: int, low: 4}",
            ["`circuit.n_qubits.high` is missing"],
            id="missing bound",
        ),
        pytest.param(
            "circuit.n_qubits: {type: integer, low: 2, high: 4}",
            ["`circuit.n_qubits.type` must be one of float, int, categorical"],
            id="unknown type",
        ),
        pytest.param(
            "circuit.n_qubits: {type: int, low: 4, high: 2}",
            ["`circuit.n_qubits` has low 4 above high 2"],
            id="low above high",
        ),
        pytest.param(
            "loss.margin: {type: float, low: 0.0, high: 1.0, log: true}",
            ["`loss.margin` has log: true with low 0.0"],
            id="log of zero",
        ),
        pytest.param(
            "loss.margin: {type: float, low: 0.1, high: 0.9, log: true, step: 0.2}",
            ["`loss.margin` has both log and step"],
            id="log and step",
        ),
        pytest.param(
            "loss.margin: {type: float, low: 1, high: 2, log: true, step: 1}",
            ["`loss.margin` has both log and step"],
            id="log and a step of one",
        ),
        pytest.param(
            "loss.negatives: {type: int, low: 1, high: 8, step: 0}",
            ["`loss.negatives.step` is 0, but must be greater than 0"],
            id="step of zero",
        ),
        pytest.param(
            "loss.margin: {type: float, low: 0.1, high: 0.9, when: {loss.nam: [triplet]}}",
            ["`loss.margin` depends on `loss.nam`", "Did you mean `loss.name`?"],
            id="condition on an unknown parameter",
        ),
        pytest.param(
            "loss.margin: {type: float, low: 0.1, high: 0.9, when: {loss.name: [contrastive]}}",
            ["`loss.margin` waits for ['contrastive'], which are not values of `loss.name`"],
            id="a value that never comes",
        ),
        pytest.param(
            "loss.margin: {type: float, low: 0.1, high: 0.9, when: {loss.name: []}}",
            ["`loss.margin.when.loss.name` is []", "at least 1 item"],
            id="a condition without values",
        ),
        pytest.param(
            "circuit.entangler: {type: categorical, choices: []}",
            ["`circuit.entangler` has empty choices"],
            id="empty choices",
        ),
        pytest.param(
            "circuit.entangler: {type: categorical, choices: [cnot_chain, star]}",
            ["`circuit.entangler`: 'star' is not a valid value"],
            id="a choice that no run takes",
        ),
        pytest.param(
            "circuit.n_qubits: {type: int, low: 2, high: 60}",
            ["`circuit.n_qubits`: 60 is not a valid value", "less than or equal to 12"],
            id="a range that leaves the schema",
        ),
        pytest.param(
            "mlp.hidden_layers.5: {type: categorical, choices: [8]}",
            ["`mlp.hidden_layers.5`"],
            id="an element that the list of the base has not",
        ),
        pytest.param(
            "data.candidates: {type: int, low: 10, high: 100}",
            ["`data.candidates` is not a known key"],
            id="a key that decides the data",
        ),
        pytest.param(
            "7: {type: int, low: 8, high: 64}",
            ["`7` is not a known key"],
            id="a key that is no text",
        ),
    ],
)
def test_a_mistake_in_a_parameter_is_named_with_its_file_and_line(
    write: Write, line: str, sentences: list[str]
) -> None:
    path = write(f"{HEADER}  {line}\n")
    (problem,) = problems(path)
    assert f"{path}, line 6" in problem
    for sentence in sentences:
        assert sentence in problem


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            "mlp.hidden_layers.length: {type: int, low: 1, high: 2}\n"
            "  mlp.hidden_layers.0: {type: int, low: 8, high: 16, "
            "when: {mlp.hidden_layers.length: [two]}}",
            "waits for ['two'], which are not values of `mlp.hidden_layers.length`",
        ),
        (
            "mlp.hidden_layers.length: {type: categorical, choices: ['1', '2']}\n"
            "  mlp.hidden_layers.0: {type: int, low: 8, high: 16}",
            "`mlp.hidden_layers.length`",
        ),
        (
            "mlp.hidden_layers.length: {type: categorical, choices: []}\n"
            "  mlp.hidden_layers.0: {type: int, low: 8, high: 16}",
            "`mlp.hidden_layers.length` has empty choices",
        ),
        ("mlp.hidden_layers.length: {type: int, low: -1, high: 2}", "-1 is not a valid value"),
        (
            "optimizer.mlp_lr: {type: float, low: 0.1, high: 0.5}\n"
            "  loss.margin: {type: float, low: 0.1, high: 0.9, when: {optimizer.mlp_lr: [0.2]}}",
            "waits for values of `optimizer.mlp_lr`, which has infinitely many",
        ),
        (
            "mlp.hidden_layers.length: {type: int, low: 3, high: 4, when: {loss.name: [triplet]}}\n"
            "  mlp.hidden_layers.2: {type: int, low: 8, high: 16}",
            "`mlp.hidden_layers.2` does not exist when `mlp.hidden_layers.length` is 2",
        ),
    ],
)
def test_lengths_and_conditions_that_nothing_can_have_are_told(
    write: Write, lines: str, sentence: str
) -> None:
    assert sentence in "\n".join(problems(write(f"{HEADER}  {lines}\n")))


def test_an_element_may_wait_for_what_its_length_waits_for(write: Write) -> None:
    when = "when: {loss.name: [triplet]}}"
    space = load_space(
        write(
            f"{HEADER}  mlp.hidden_layers.length: {{type: int, low: 3, high: 4, {when}\n"
            f"  mlp.hidden_layers.2: {{type: int, low: 8, high: 16, {when}\n"
        )
    )
    assert len(space.parameters) == 3


def test_a_condition_on_a_step_holds_however_it_is_rounded(tiny_space: Space) -> None:
    dropout = FloatParameter(type="float", low=0.1, high=0.5, step=0.1)
    margin = FloatParameter(type="float", low=0.1, high=0.8, when={"mlp.dropout": [0.3]})
    parameters = {"mlp.dropout": dropout, "loss.margin": margin}
    space = Space(tiny_space.header, tiny_space.base, parameters)
    assert 0.1 + 2 * 0.1 != 0.3
    for drawn, holds in ((0.1 + 2 * 0.1, True), (0.2, False)):
        given = FixedTrial({"mlp.dropout": drawn, "loss.margin": 0.4})
        assert ("loss.margin" in space.suggest(given)) == holds


def test_small_numbers_of_a_condition_are_told_apart(tiny_space: Space) -> None:
    decay = CategoricalParameter(type="categorical", choices=[0.0, 1e-10, 2e-10])
    margin = FloatParameter(
        type="float", low=0.1, high=0.8, when={"optimizer.weight_decay": [1e-10]}
    )
    parameters = {"optimizer.weight_decay": decay, "loss.margin": margin}
    space = Space(tiny_space.header, tiny_space.base, parameters)
    for value, holds in ((0.0, False), (1e-10, True), (2e-10, False)):
        given = FixedTrial({"optimizer.weight_decay": value, "loss.margin": 0.4})
        assert ("loss.margin" in space.suggest(given)) == holds


def test_a_start_point_is_the_point_of_the_grid_that_it_names(tiny_space: Space) -> None:
    dropout = FloatParameter(type="float", low=0.1, high=0.5, step=0.1)
    header = tiny_space.header.model_copy(update={"start_from": [{"mlp.dropout": 0.3}]})
    space = Space(header, tiny_space.base, {"mlp.dropout": dropout})
    (point,) = space.start_points()
    assert point in space.points()


def test_a_grid_of_too_many_points_is_refused(write: Write) -> None:
    path = write(
        HEADER.replace("parameters:", "sampler: {name: grid}\nparameters:")
        + "  warmup.steps: {type: int, low: 1, high: 600}\n"
        + "  training.batch_size: {type: int, low: 1, high: 360}\n"
    )
    (problem,) = problems(path)
    assert "The grid has 432,000 points" in problem


def test_a_condition_on_a_parameter_below_is_refused(write: Write) -> None:
    path = write(
        HEADER
        + "  loss.margin: {type: float, low: 0.1, high: 0.9, when: {circuit.n_qubits: [2]}}\n"
        + "  circuit.n_qubits: {type: int, low: 2, high: 4}\n"
    )
    (problem,) = problems(path)
    assert "`loss.margin` depends on `circuit.n_qubits`, which must stand above it" in problem
    assert f"{path}, line 6" in problem


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(
            "  mlp.hidden_layers.1: {type: categorical, choices: [8]}\n", id="no condition"
        ),
        pytest.param(
            "  mlp.hidden_layers.1:\n"
            "    {type: categorical, choices: [8], when: {mlp.hidden_layers.length: [1, 2]}}\n",
            id="a condition that is too wide",
        ),
    ],
)
def test_an_element_beyond_a_length_that_the_space_may_draw_is_refused(
    write: Write, lines: str
) -> None:
    path = write(HEADER + "  mlp.hidden_layers.length: {type: int, low: 1, high: 2}\n" + lines)
    (problem,) = problems(path)
    assert "`mlp.hidden_layers.1`" in problem
    assert f"{path}, line 7" in problem


def test_a_condition_on_a_parameter_whose_step_is_zero_is_refused_in_words(write: Write) -> None:
    path = write(
        HEADER
        + "  circuit.n_qubits: {type: int, low: 2, high: 4, step: 0}\n"
        + "  loss.margin: {type: float, low: 0.1, high: 0.9, when: {circuit.n_qubits: [3]}}\n"
    )
    assert "`circuit.n_qubits.step` is 0, but must be greater than 0" in problems(path)[0]


def test_a_mistake_in_a_parameter_does_not_accuse_those_that_wait_for_it(write: Write) -> None:
    path = write(
        HEADER.replace("categorical", "categorial")
        + f"  loss.margin: {{type: float, low: 0.1, high: 0.9, {TRIPLET}}}\n"
    )
    (problem,) = problems(path)
    assert f"`loss.name.type` must be one of float, int, categorical ({path}, line 5)" in problem


@pytest.mark.parametrize(
    ("found", "written", "line", "sentences"),
    [
        pytest.param(
            "budget: {trials: 4, epochs: 3}\n", "", 1, ["`budget` is missing"], id="no budget"
        ),
        pytest.param(
            "epochs: 3", "epochs: 0", 3, ["`budget.epochs` is 0", "greater than"], id="no epochs"
        ),
        pytest.param(
            "name: tiny\n",
            "name: tiny\nsampler: {name: annealing}\n",
            2,
            ["`sampler.name` is 'annealing'", "'tpe', 'gp'"],
            id="unknown sampler",
        ),
        pytest.param(
            "name: tiny\n",
            "name: tiny\nscheduler: {grace_epoch: 3}\n",
            2,
            ["`scheduler.grace_epoch` is not a known key", "Did you mean `grace_period`?"],
            id="unknown key of the scheduler",
        ),
        *(
            pytest.param(
                "name: tiny\n",
                f"name: tiny\nscheduler: {{name: {name}, grace_period: 9}}\n",
                2,
                ["`scheduler.grace_period` is 9, but must be at most `budget.epochs`, 3"],
                id=f"no epoch in which {name} may stop",
            )
            for name in ("asha", "hyperband", "median")
        ),
        *(
            pytest.param(
                "name: tiny\n",
                f"name: tiny\nscheduler: {{name: pbt, {values}}}\n",
                2,
                sentences,
                id=f"a population that cannot be, {values}",
            )
            for values, sentences in (
                (
                    "population: 4, interval_epochs: 1",
                    ["`scheduler.population` is 4, but must be below `budget.trials`, 4"],
                ),
                (
                    "population: 2, interval_epochs: 3",
                    ["`scheduler.interval_epochs` is 3, but must be below `budget.epochs`, 3"],
                ),
                (
                    "population: 9, interval_epochs: 3, quantile: 0.6",
                    ["`scheduler.quantile` is 0.6", "less than or equal to 0.5"],
                ),
            )
        ),
        pytest.param(
            "base.yaml",
            "nowhere.yaml",
            2,
            ["nowhere.yaml`, which does not exist"],
            id="no base file",
        ),
        pytest.param(
            "name: tiny\n",
            "name: tiny\nfixed: {circuit.n_qubits: 60}\n",
            2,
            ["`circuit.n_qubits` is 60", "less than or equal to 12"],
            id="a fixed value that no run takes",
        ),
        pytest.param(
            "name: tiny\n",
            "name: tiny\ndata: {seenn: ['icd10:3']}\n",
            2,
            ["`data.seenn` is not a known key", "Did you mean `seen`?"],
            id="unknown key of the data",
        ),
    ],
)
def test_a_mistake_in_the_header_is_named_with_its_file_and_line(
    write: Write, found: str, written: str, line: int, sentences: list[str]
) -> None:
    path = write(HEADER.replace(found, written))
    (problem,) = problems(path)
    assert f"{path}, line {line}" in problem
    for sentence in sentences:
        assert sentence in problem


@pytest.mark.parametrize("text", ["parameters: {}", "parameters: [loss.name]", ""])
def test_a_space_without_parameters_is_refused(write: Write, text: str) -> None:
    (problem,) = problems(write(HEADER.split("parameters", maxsplit=1)[0] + text + "\n"))
    assert "`parameters` must name at least one" in problem


def test_a_mistake_in_the_base_file_is_named_with_that_file_and_its_line(
    write: Write, tmp_path: Path
) -> None:
    path = write(HEADER)
    (tmp_path / "base.yaml").write_text("circuit:\n  n_qubits: 60\n")
    (problem,) = problems(path)
    assert f"{tmp_path / 'base.yaml'}, line 2" in problem


def test_every_mistake_of_a_file_is_shown_at_once(write: Write) -> None:
    path = write("""\
name: tiny
base: base.yaml
sampler: {name: annealing}
parameters:
  circuit.n_qubit: {type: int, low: 2, high: 4}
  circuit.n_layers: {type: int, low: 4, high: 2}
  loss.name: {type: categorical, choices: []}
  loss.margin: {type: float, low: 0.0, high: 0.9, log: true}
  loss.temperature: {type: float, low: 0.1, high: 0.9, log: true, step: 0.1}
  mlp.dropout: {type: float, low: 0.1, high: 0.9, when: {loss.nam: [triplet]}}
  warmup.steps: {type: int, low: 0, high: 9, when: {training.batch_size: [32]}}
  training.batch_size: {type: categorical, choices: [32, 64]}
  loss.negatives: {type: int, low: 1, high: 9, when: {training.batch_size: [16]}}
  optimizer.weight_decay: {type: float, low: 0.1, high: 60.0}
""")
    lines = [int(number) for text in problems(path) for number in re.findall(r"line (\d+)", text)]
    # Line 1 stands for the budget, which is not there.
    assert sorted(lines) == [1, 3, 5, 6, 7, 8, 9, 10, 11, 13, 14]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("{circuit.n_qubits: 4}", "`circuit.n_qubits` is not a parameter"),
        ("{loss.nam: triplet}", "Did you mean `loss.name`?"),
        ("{loss.name: contrastive}", "`loss.name` is 'contrastive', not a value of the space"),
        ("{loss.margin: 1.5}", "`loss.margin` is 1.5, not a value of the space"),
        ("{loss.margin: high}", "`loss.margin` is 'high', not a value of the space"),
        ("{loss.negatives: 4}", "`loss.negatives` is 4, not a value of the space"),
        ("{warmup.weight: 0.3}", "`warmup.weight` is 0.3, not a value of the space"),
    ],
)
def test_a_start_point_that_the_space_does_not_hold_is_refused(
    write: Write, entry: str, sentence: str
) -> None:
    path = write(f"""\
name: tiny
base: base.yaml
budget: {{trials: 4, epochs: 3}}
start_from:
  - {{}}
  - {entry}
parameters:
  loss.name: {{type: categorical, choices: [triplet, infonce]}}
  loss.margin: {{type: float, low: 0.1, high: 0.9, {TRIPLET}}}
  loss.negatives: {{type: int, low: 1, high: 31, step: 2}}
  warmup.weight: {{type: float, low: 0.0, high: 0.5, step: 0.25}}
""")
    (problem,) = problems(path)
    assert sentence in problem
    assert f"{path}, line 6" in problem


def test_an_empty_start_point_outside_the_ranges_is_refused(write: Write) -> None:
    path = write(
        HEADER.replace("parameters:", "start_from: [{}]\nparameters:")
        + "  circuit.n_qubits: {type: int, low: 2, high: 3}\n"
    )
    (problem,) = problems(path)
    assert "`circuit.n_qubits` is 4, not a value of the space" in problem


def test_a_start_point_of_values_that_do_not_go_together_is_refused(write: Write) -> None:
    path = write("""\
name: tiny
base: base.yaml
budget: {trials: 4, epochs: 3}
start_from:
  - {optimizer.schedule: one_cycle}
  - {optimizer.schedule: one_cycle, optimizer.linear_warmup_epochs: 2}
parameters:
  optimizer.schedule: {type: categorical, choices: [constant, one_cycle]}
  optimizer.linear_warmup_epochs: {type: float, low: 0.0, high: 3.0}
""")
    (problem,) = problems(path)
    assert f"the values are not valid together ({path}, line 6)" in problem
    assert "`optimizer.linear_warmup_epochs` is 2, but must be 0 beside" in problem


def test_overrides_replace_values_of_the_budget_and_are_checked(write: Write) -> None:
    path = write(HEADER)
    assert load_space(path, {"trials": 9}).header.budget.trials == 9
    with pytest.raises(ConfigError, match=r"`budget\.trials` is 0"):
        load_space(path, {"trials": 0})


def test_the_objective_is_what_every_trial_is_chosen_by(write: Write) -> None:
    path = write(HEADER.replace("parameters:", "objective: {metric: map}\nparameters:"))
    assert load_space(path).base.training.objective == "map"


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"loss.name": "triplet"}, ["loss.name", "loss.margin"]),
        ({"loss.name": "infonce"}, ["loss.name"]),
    ],
)
def test_a_parameter_is_asked_for_only_where_its_condition_holds(
    tiny_space: Space, given: dict[str, Any], asked: list[str]
) -> None:
    rest = {"optimizer.mlp_lr": 0.003, "circuit.n_qubits": 3}
    trial = FixedTrial({**given, **rest, "loss.margin": 0.4})
    params = tiny_space.suggest(trial)
    assert list(params) == [*asked, *rest]
    assert params == dict(trial.params)


def test_a_condition_on_a_parameter_that_was_not_asked_for_does_not_hold(
    tiny_space: Space,
) -> None:
    chained = IntParameter(type="int", low=1, high=3, when={"loss.margin": [0.4]})
    space = Space(tiny_space.header, tiny_space.base, {**tiny_space.parameters, "n": chained})
    values = {"loss.margin": 0.4, "optimizer.mlp_lr": 0.003, "circuit.n_qubits": 3, "n": 2}
    assert "n" in space.suggest(FixedTrial({**values, "loss.name": "triplet"}))
    assert "n" not in space.suggest(FixedTrial({**values, "loss.name": "infonce"}))


def test_active_drops_what_a_condition_excludes(tiny_space: Space) -> None:
    values = {"loss.name": "infonce", "loss.margin": 0.4, "circuit.n_qubits": 3, "foreign": 1}
    assert tiny_space.active(values) == {"loss.name": "infonce", "circuit.n_qubits": 3}
    values["loss.name"] = "triplet"
    assert tiny_space.active(values)["loss.margin"] == 0.4


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (IntParameter(type="int", low=2, high=7, step=2), [2, 4, 6]),
        (IntParameter(type="int", low=2, high=3), [2, 3]),
        (FloatParameter(type="float", low=0.0, high=0.5, step=0.25), [0.0, 0.25, 0.5]),
        (FloatParameter(type="float", low=0.1, high=0.7, step=0.1), [0.1 * n for n in range(1, 8)]),
        (FloatParameter(type="float", low=0.0, high=1.0, step=0.35), [0.0, 0.35, 0.7]),
        (FloatParameter(type="float", low=0.1, high=0.7), []),
        (CategoricalParameter(type="categorical", choices=["b", "a"]), ["b", "a"]),
    ],
)
def test_a_grid_has_every_value_that_a_parameter_takes_and_none_beyond(
    parameter: Parameter, values: list[Any]
) -> None:
    assert parameter.values() == pytest.approx(values)
    assert all(parameter.admits(value) for value in parameter.values())


def test_a_configuration_takes_the_values_and_its_seed_from_the_number(tiny_space: Space) -> None:
    params = {"loss.name": "infonce", "circuit.n_qubits": 3}
    config = tiny_space.config_for(params, number=5)
    assert (config.loss.name, config.circuit.n_qubits) == ("infonce", 3)
    assert config.seed == tiny_space.base.seed + 5
    assert config.data == tiny_space.base.data


@pytest.mark.parametrize("n_qubits", [2, 3, 10, 12])
def test_the_configuration_of_a_trial_names_the_engine_that_auto_stands_for(
    tiny_space: Space, n_qubits: int
) -> None:
    space = replace(tiny_space, base=override(tiny_space.base, {"circuit.engine": "auto"}))
    config = space.config_for({"circuit.n_qubits": n_qubits}, number=1)
    expected = fastest_engine(n_qubits, 3 * space.base.training.batch_size)
    assert config.circuit.engine == expected
    named = tiny_space.config_for(
        {"circuit.n_qubits": n_qubits, "circuit.engine": expected}, number=1
    )
    assert config == named


def test_a_trial_s_own_auto_is_resolved_too(tiny_space: Space) -> None:
    config = tiny_space.config_for({"circuit.engine": "auto"}, number=0)
    assert config.circuit.engine == fastest_engine(2, 3 * config.training.batch_size)


def test_a_list_is_set_by_its_length_and_elements(tiny_space: Space) -> None:
    params = {"mlp.hidden_layers.0": 64, "mlp.hidden_layers.1": 32, "mlp.hidden_layers.length": 2}
    assert tiny_space.config_for(params, number=0).mlp.hidden_layers == (64, 32)


def test_a_start_point_changes_the_base_only_where_its_entry_says(tiny_space: Space) -> None:
    header = tiny_space.header.model_copy(update={"start_from": [{"loss.name": "infonce"}]})
    (point,) = Space(header, tiny_space.base, tiny_space.parameters).start_points()
    assert point == {"loss.name": "infonce", "optimizer.mlp_lr": 0.001, "circuit.n_qubits": 2}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("fixed: {training.max_epochs: 9}", "`fixed` sets `training.max_epochs`, but `budget."),
        ("fixed: {circuit.n_qubits: 3}", "`circuit.n_qubits` is both fixed and a parameter"),
    ],
)
def test_what_is_set_twice_is_refused(write: Write, line: str, sentence: str) -> None:
    space = "  circuit.n_qubits: {type: int, low: 2, high: 4}\n"
    path = write(HEADER.replace("parameters:", f"{line}\nparameters:") + space)
    assert any(sentence in problem for problem in problems(path))


def test_a_mistake_on_the_command_line_is_not_blamed_on_the_file(write: Write) -> None:
    path = write(HEADER + "  circuit.n_qubits: {type: int, low: 2, high: 4}\n")
    with pytest.raises(ConfigError, match=r"`budget\.trials` is 0, .* \(--trials\)"):
        load_space(path, {"trials": 0})


AGAINST = HEADER.replace("budget:", "objective: {cost: parameters}\nbudget:")


def test_a_second_objective_needs_trials_that_nothing_stops(write: Write) -> None:
    (problem,) = problems(write(AGAINST))
    assert "`objective.cost`" in problem
    assert "space.yaml, line 3" in problem
    assert "`scheduler.name` is asha, which stops some" in problem
    assert "`scheduler: {name: none}`" in problem


def test_a_sampler_that_knows_one_objective_is_refused_a_second(write: Write) -> None:
    found = problems(write(f"sampler: {{name: cmaes}}\n{AGAINST}"))
    assert len(found) == 2
    assert "`sampler.name` is cmaes, which supports one" in found[1]
    assert "Use tpe, gp, random, qmc or grid" in found[1]


@pytest.mark.parametrize("name", ["tpe", "gp", "random", "qmc", "grid"])
def test_any_other_sampler_takes_it(write: Write, name: str) -> None:
    space = load_space(write(f"sampler: {{name: {name}}}\nscheduler: {{name: none}}\n{AGAINST}"))
    assert space.header.objective.directions == ["maximize", "minimize"]
    assert load_space(write(HEADER)).header.objective.directions == ["maximize"]


def test_a_cost_that_is_not_known_is_refused_with_those_that_are(write: Write) -> None:
    (problem,) = problems(write(AGAINST.replace("parameters}", "weight}", 1)))
    assert "`objective.cost` is 'weight'" in problem
    assert "'parameters' or 'latency'" in problem


POPULATION = HEADER + "scheduler: {name: pbt, population: 3, interval_epochs: 1}\n"


def test_a_population_is_compared_at_its_intervals_but_not_at_the_end(write: Write) -> None:
    assert list(load_space(write(POPULATION)).perturbation_epochs()) == [1, 2]
    assert list(load_space(write(HEADER)).perturbation_epochs()) == []


def test_every_mistake_of_a_population_is_shown_at_once(write: Write) -> None:
    scheduler = "scheduler: {name: pbt, population: 4, interval_epochs: 3}\n"
    found = problems(write(HEADER + scheduler + "start_from: [{}, {}, {}, {}, {}]\n"))
    assert len(found) == 3
    assert all("line 6)" in text for text in found)
    assert "must be at least 5: each point of `start_from` is a member" in found[2]


def test_a_population_without_anything_to_change_is_refused(write: Write) -> None:
    text = POPULATION.replace(
        "loss.name: {type: categorical, choices: [triplet, infonce]}",
        "circuit.n_qubits: {type: int, low: 2, high: 4}",
    )
    (sentence,) = problems(write(text))
    assert "nothing to change in a clone" in sentence
    assert "line 6)" in sentence


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("null", "null"),
        ("", "null"),
        ("[a]", "['a']"),
        ("{a: b}", "{'a': 'b'}"),
        (".nan", "nan"),
        (".inf", "inf"),
    ],
)
@pytest.mark.parametrize("key", ["choices", "when"])
def test_a_value_that_is_no_scalar_gives_one_line(
    write: Write, key: str, choice: str, written: str
) -> None:
    values = f"[triplet, {choice}]" if choice else "[triplet, ~]"
    place = {
        "choices": f"{{type: categorical, choices: {values}}}",
        "when": f"{{type: categorical, choices: [zz_ring], when: {{loss.name: {values}}}}}",
    }
    path = write(f"{HEADER}  circuit.entangler: {place[key]}\n")
    (problem,) = problems(path)
    assert f"is {written}, but must be text, a finite number, true or false" in problem
    assert f"{path}, line 6" in problem


def test_nested_parameters_are_named_by_their_dotted_keys(write: Write) -> None:
    path = write(f"""{HEADER}\
  optimizer:
    mlp_lr: {{type: float, low: 1e-4, high: 1e-2}}
  mlp.dropout: {{type: float, low: 0.0, high: 0.3, when: {{optimizer.mlp_lr: [1e-3]}}}}
""")
    (problem,) = problems(path)
    assert f"has the nested section `optimizer` ({path}, line 6)" in problem
    assert "Write `optimizer.mlp_lr: ...`." in problem


@pytest.mark.parametrize(
    ("block", "dotted"),
    [
        ("fixed: {optimizer: {mlp_lr: 0.1}}", "`optimizer.mlp_lr: ...`"),
        ("fixed: {data: {candidates: 7}}", "`data.candidates: ...`"),
        ("start_from: [{loss: {name: triplet}}]", "`loss.name: ...`"),
    ],
)
def test_nested_values_are_named_by_their_dotted_keys(
    write: Write, block: str, dotted: str
) -> None:
    (problem,) = problems(write(HEADER.replace("parameters:", f"{block}\nparameters:")))
    assert "nested section" in problem
    assert dotted in problem


def test_a_nested_condition_is_named_by_its_dotted_key(write: Write) -> None:
    line = "  loss.margin: {type: float, low: 0.1, high: 0.8, when: {loss: {name: [triplet]}}}\n"
    (problem,) = problems(write(HEADER + line))
    assert "Keys are dotted: write `loss.name: [...]`" in problem


def test_a_dotted_key_of_the_header_is_named_as_the_nested_one(write: Write) -> None:
    path = write(HEADER.replace("budget: {trials: 4, epochs: 3}", "budget.trials: 4"))
    (problem,) = problems(path)
    assert "`budget.trials` is not a known key" in problem
    assert "write `budget: {trials: ...}`" in problem


def test_a_parameter_without_a_type_or_with_a_bare_value_is_named_for_what_it_is(
    write: Write,
) -> None:
    (problem,) = problems(write(HEADER + "  circuit.n_layers: {low: 1, high: 2}\n"))
    assert "`circuit.n_layers.type` is missing" in problem
    (problem,) = problems(write(HEADER + "  circuit.n_layers: 3\n"))
    assert "A value that never changes belongs in `fixed`" in problem


def test_whole_numbers_may_be_written_as_floats(write: Write) -> None:
    space = load_space(
        write(f"""\
{HEADER}\
  circuit.n_layers: {{type: int, low: 1.0, high: 3.0}}
  mlp.hidden_layers.length: {{type: int, low: 1, high: 2}}
  mlp.hidden_layers.1: {{type: int, low: 8, high: 9, when: {{mlp.hidden_layers.length: [2.0]}}}}
start_from: [{{circuit.n_layers: 2.0, mlp.hidden_layers.1: 8}}]
""")
    )
    (point,) = space.start_points()
    assert (point["circuit.n_layers"], type(point["circuit.n_layers"])) == (2, int)
    assert space.config_for(point, 0).mlp.hidden_layers == (256, 8)


def test_true_is_no_number_of_a_start_point(write: Write) -> None:
    lines = "  circuit.n_layers: {type: int, low: 1, high: 3}\n"
    path = write(f"{HEADER}{lines}start_from: [{{circuit.n_layers: true}}]\n")
    (problem,) = problems(path)
    assert "`circuit.n_layers` is True, not a value of the space" in problem


@pytest.mark.parametrize(
    ("lines", "waiters"),
    [
        pytest.param(
            "loss.margin: {type: categorical, choices: [0.1, 0.2], when: {loss.name: [triplet]}}\n"
            "  mlp.dropout: {type: float, low: 0.0, high: 0.3, "
            "when: {loss.name: [infonce], loss.margin: [0.1]}}",
            ["`mlp.dropout` needs `loss.name` in ['infonce']", "`loss.margin` needs"],
            id="a parameter that is awaited is drawn elsewhere only",
        ),
        pytest.param(
            "loss.margin: {type: categorical, choices: [0.1, 0.2], when: {loss.name: [triplet]}}\n"
            "  circuit.n_layers: {type: int, low: 1, high: 2, when: {loss.margin: [0.1]}}\n"
            "  loss.negatives: {type: int, low: 1, high: 2, when: {loss.name: [infonce]}}\n"
            "  mlp.dropout: {type: float, low: 0.0, high: 0.3, "
            "when: {circuit.n_layers: [1], loss.negatives: [1]}}",
            ["`loss.margin` needs `loss.name` in ['triplet']", "`loss.negatives` needs"],
            id="two chains of conditions that exclude each other",
        ),
    ],
)
def test_conditions_that_exclude_each_other_are_refused(
    write: Write, lines: str, waiters: list[str]
) -> None:
    (problem,) = problems(write(f"{HEADER}  {lines}\n"))
    assert "`mlp.dropout` is never drawn" in problem
    for waiter in waiters:
        assert waiter in problem


def test_only_the_first_of_a_chain_that_is_never_drawn_is_named(write: Write) -> None:
    path = write(f"""{HEADER}\
  loss.margin: {{type: categorical, choices: [0.1], when: {{loss.name: [triplet]}}}}
  circuit.n_layers:
    {{type: int, low: 1, high: 2, when: {{loss.name: [infonce], loss.margin: [0.1]}}}}
  mlp.dropout: {{type: float, low: 0.0, high: 0.3, when: {{circuit.n_layers: [1]}}}}
""")
    (problem,) = problems(path)
    assert "`circuit.n_layers` is never drawn" in problem


def test_conditions_that_share_a_value_are_accepted(write: Write) -> None:
    path = write(f"""{HEADER}\
  circuit.n_layers: {{type: int, low: 1, high: 3, when: {{loss.name: [triplet, infonce]}}}}
  mlp.dropout:
    {{type: float, low: 0.0, high: 0.3, when: {{loss.name: [infonce], circuit.n_layers: [3]}}}}
""")
    assert len(load_space(path).parameters) == 3


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ("warmup.steps: {type: int, low: 0, high: 2000000000}", "2,000,000,001"),
        ("mlp.dropout: {type: float, low: 0.0, high: 0.3, step: 1e-8}", "30,000,001"),
        ("mlp.dropout: {type: float, low: 0.0, high: 0.3, step: 1e-300}", "more than 10^15"),
    ],
)
def test_a_huge_grid_is_counted_without_listing_it(write: Write, lines: str, count: str) -> None:
    path = write(
        HEADER.replace("parameters:", "sampler: {name: grid}\nparameters:").replace(
            "loss.name: {type: categorical, choices: [triplet, infonce]}", lines
        )
    )
    (problem,) = problems(path)
    assert f"The grid has {count}" in problem


def test_a_start_point_is_checked_beside_a_broken_parameter(write: Write) -> None:
    lines = "  circuit.n_layers: {type: int, low: 1, hihg: 3}\n"
    start = "start_from: [{circuit.n_layers: 2, loss.nam: triplet}]\n"
    found = problems(write(HEADER + lines + start))
    assert any("start_from: `loss.nam` is not a parameter" in problem for problem in found)
    assert not any("start_from: `circuit.n_layers`" in problem for problem in found)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (("epochs: 3", "epochs: 100000000"), "`budget.epochs` is 100000000, but must be less"),
        (("trials: 4", "trials: 100000000"), "`budget.trials` is 100000000, but must be less"),
        (("name: tiny", f"name: {'a' * 101}"), "`name` is "),
        (("name: tiny", "name: tiny\nconfirm_seeds: 100000"), "`confirm_seeds` is 100000"),
        (
            ("name: tiny", "name: tiny\nscheduler: {reduction_factor: 1.0000000000000002}"),
            "`scheduler.reduction_factor` is 1.0000000000000002, but must be greater",
        ),
        (
            ("[triplet, infonce]", f"[{', '.join(f'c{n}' for n in range(1001))}]"),
            "`loss.name.choices` is ",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_size_beyond_its_limit_is_named(write: Write, change: tuple[str, str], rule: str) -> None:
    (problem, *_) = problems(write(HEADER.replace(*change)))
    assert problem.startswith(rule)
    assert len(problem) < 500


def test_a_base_that_is_a_pipe_is_refused_at_once(write: Write, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (problem,) = problems(write(HEADER.replace("base.yaml", "pipe.yaml")))
    assert "which is no regular file" in problem


_RATE = "  optimizer.mlp_lr: {type: float, low: 0.0001, high: 0.01, log: true}\n"
_MARGIN = f"  loss.margin: {{type: float, low: 0.1, high: 0.8, {TRIPLET}}}\n"


def with_guesses(guesses: str, sampler: str = "prior") -> str:
    lines = f"sampler: {{name: {sampler}}}\nprior: {guesses}\nparameters:"
    return HEADER.replace("parameters:", lines) + _RATE + _MARGIN


@pytest.mark.parametrize(
    ("guesses", "said"),
    [
        ("{optimizer.mlp_rate: {center: 0.001}}", "`optimizer.mlp_rate` is not a parameter"),
        (
            "{optimizer.mlp_lr: {center: 0.1}}",
            "`optimizer.mlp_lr` is 0.1, not a value of the space",
        ),
        ("{loss.name: {center: listnet}}", "`loss.name` is 'listnet', not a value of the space"),
        ("{optimizer.mlp_lr: {center: 0.001, width: 0}}", "width"),
        ("{optimizer.mlp_lr: {center: 0.001, keep: 1.5}}", "keep"),
        ("{optimizer.mlp_lr: 0.001}", "prior.optimizer.mlp_lr"),
        (
            "{loss.name: {center: infonce}, loss.margin: {center: 0.5}}",
            "`loss.margin` is guessed, but its condition does not hold",
        ),
    ],
)
def test_a_wrong_guess_is_named(write: Write, guesses: str, said: str) -> None:
    found = problems(write(with_guesses(guesses)))
    assert any(said in problem for problem in found), found


def test_guesses_need_the_sampler_that_reads_them(write: Write) -> None:
    (problem,) = problems(write(with_guesses("{loss.name: {center: triplet}}", sampler="tpe")))
    assert "prior: the sampler tpe does not read it" in problem
    assert "line 5" in problem


def test_guesses_are_a_point_of_the_sampler(write: Write) -> None:
    guesses = (
        "{optimizer.mlp_lr: {center: 0.002, width: 0.01}, loss.name: {center: triplet, keep: 1}}"
    )
    space = load_space(write(with_guesses(guesses)))
    drawn = []
    for seed in range(30):
        header = space.header.model_copy(
            update={"sampler": space.header.sampler.model_copy(update={"seed": seed})}
        )
        seeded = replace(space, header=header)
        study = optuna.create_study(sampler=make_sampler(seeded, 0))
        params = space.suggest(study.ask())
        if study.trials[0].user_attrs["proposed_from"] == "prior:0":
            drawn.append(params)
    assert len(drawn) > 10
    assert {params["loss.name"] for params in drawn} == {"triplet"}
    assert all(0.0015 < params["optimizer.mlp_lr"] < 0.0025 for params in drawn)
