from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.similarity import build_head
from tuning.algorithms.exploration import explored
from tuning.space import (
    CategoricalParameter,
    FloatParameter,
    Header,
    IntParameter,
    Parameter,
    Params,
    SchedulerConfig,
    Space,
    searchable_keys,
)
from tuning.space.mutation import mutable_keys

SEEDS = range(200)

PARAMETERS: dict[str, Parameter] = {
    "loss.name": CategoricalParameter(type="categorical", choices=["triplet", "infonce", "x"][:2]),
    "loss.margin": FloatParameter(type="float", low=0.1, high=0.8, when={"loss.name": ["triplet"]}),
    "loss.temperature": FloatParameter(
        type="float", low=0.01, high=0.1, log=True, when={"loss.name": ["infonce"]}
    ),
    "optimizer.mlp_lr": FloatParameter(type="float", low=1e-4, high=1e-2, log=True),
    "mlp.dropout": FloatParameter(type="float", low=0.0, high=0.5, step=0.1),
    "loss.negatives": IntParameter(type="int", low=3, high=15, step=2),
    "training.max_batch_documents": IntParameter(type="int", low=8, high=512, log=True),
    "training.batch_size": CategoricalParameter(type="categorical", choices=[8, 16, 32, 64]),
    "circuit.n_qubits": IntParameter(type="int", low=2, high=6),
    "mlp.hidden_layers.length": IntParameter(type="int", low=1, high=2),
    "mlp.hidden_layers.0": CategoricalParameter(type="categorical", choices=[8, 16]),
    "warmup.steps": IntParameter(type="int", low=0, high=400),
}
DONOR: Params = {
    "loss.name": "triplet",
    "loss.margin": 0.5,
    "optimizer.mlp_lr": 1e-3,
    "mlp.dropout": 0.2,
    "loss.negatives": 7,
    "training.max_batch_documents": 100,
    "training.batch_size": 16,
    "circuit.n_qubits": 4,
    "mlp.hidden_layers.length": 1,
    "mlp.hidden_layers.0": 16,
    "warmup.steps": 100,
}
COPIED = [
    "circuit.n_qubits",
    "mlp.hidden_layers.length",
    "mlp.hidden_layers.0",
    "warmup.steps",
]


@pytest.fixture
def space(tiny_space: Space) -> Space:
    return Space(tiny_space.header, tiny_space.base, PARAMETERS)


def scheduler(**values: Any) -> SchedulerConfig:
    return SchedulerConfig(name="pbt", **values)


def clones(space: Space, donor: Mapping[str, Any] = DONOR, **values: Any) -> list[dict[str, Any]]:
    """What 200 seeds make of a donor."""
    settings = scheduler(**values)
    return [explored(space, donor, settings, np.random.default_rng(seed)) for seed in SEEDS]


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_a_clone_s_parameters_are_within_the_bounds_and_conditions_of_the_space(
    space: Space, probability: float
) -> None:
    for params in clones(space, resample_probability=probability):
        assert space.active(params) == params
        assert list(params) == [name for name in PARAMETERS if name in params]
        assert all(PARAMETERS[name].admits(value) for name, value in params.items())
        assert ("loss.margin" in params) == (params["loss.name"] == "triplet")
        assert ("loss.temperature" in params) == (params["loss.name"] == "infonce")


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_what_shapes_the_model_and_what_is_over_is_the_donor_s(
    space: Space, probability: float
) -> None:
    for params in clones(space, resample_probability=probability):
        assert {key: params[key] for key in COPIED} == {key: DONOR[key] for key in COPIED}


def test_numbers_are_moved_by_a_factor_and_choices_to_one_beside_them(space: Space) -> None:
    found = clones(space, resample_probability=0.0)
    values = {key: {params[key] for params in found if key in params} for key in DONOR}
    assert values["optimizer.mlp_lr"] == {1e-3 * 0.8, 1e-3 * 1.2}
    assert values["loss.margin"] == {0.5 * 0.8, 0.5 * 1.2}
    assert values["training.max_batch_documents"] == {80, 120}
    assert values["training.batch_size"] == {8, 32}
    # Too small for the factor: a step.
    assert values["loss.negatives"] == {5, 9}
    assert sorted(values["mlp.dropout"]) == pytest.approx([0.1, 0.3])
    assert values["loss.name"] == {"triplet", "infonce"}


@pytest.mark.parametrize(("end", "factor"), [("low", 0.5), ("high", 3.0)])
def test_nothing_is_moved_beyond_the_ends(space: Space, end: str, factor: float) -> None:
    donor = {**DONOR, **{k: getattr(p, end) for k, p in PARAMETERS.items() if hasattr(p, end)}}
    del donor["loss.temperature"]
    for params in clones(space, donor, resample_probability=0.0, factors=(factor,)):
        moved = ("optimizer.mlp_lr", "mlp.dropout", "loss.negatives")
        assert [params[key] for key in moved] == pytest.approx([donor[key] for key in moved])


def test_what_is_drawn_anew_comes_from_the_whole_range(space: Space) -> None:
    found = clones(space, resample_probability=1.0)
    rates = np.log10([params["optimizer.mlp_lr"] for params in found])
    assert np.quantile(rates, [0.1, 0.5, 0.9]) == pytest.approx([-3.8, -3.0, -2.2], abs=0.15)
    assert {params["loss.negatives"] for params in found} == {3, 5, 7, 9, 11, 13, 15}
    assert {params["training.batch_size"] for params in found} == {8, 16, 32, 64}
    documents = [params["training.max_batch_documents"] for params in found]
    assert np.median(np.log(documents)) == pytest.approx(math.log(64), abs=0.4)


def test_how_often_something_is_drawn_anew_is_the_scheduler_s(space: Space) -> None:
    found = clones(space, resample_probability=0.25)
    for key, factors in (
        ("optimizer.mlp_lr", (1e-3 * 0.8, 1e-3 * 1.2)),
        ("training.max_batch_documents", (80, 120)),
    ):
        moved = sum(params[key] in factors for params in found)
        assert moved / len(found) == pytest.approx(0.75, abs=0.08)


def test_the_same_generator_explores_the_same(space: Space) -> None:
    assert clones(space) == clones(space)
    assert len({str(params) for params in clones(space)}) > 100


def test_what_decides_whether_a_shape_is_searched_is_not_changed_either(space: Space) -> None:
    parameters = {
        **PARAMETERS,
        "circuit.n_layers": IntParameter(
            type="int", low=1, high=3, when={"training.batch_size": [8, 16]}
        ),
    }
    space = Space(space.header, space.base, parameters)
    expected = [key for key in PARAMETERS if key not in (*COPIED, "training.batch_size")]
    assert mutable_keys(space) == expected


def other_values(config: ExperimentConfig, key: str) -> list[Any]:
    """Values that a key may take, beside the one it has."""
    candidates = [1, 2, 3, 5, 0.3, 0.07, "triplet", "infonce", "fused", "fidelity", "adam", "adamw"]
    candidates += ["cosine", "step", "constant", "mlp_twin", "zz_ring", "float32", "statevector"]
    candidates += ["hard", "semi_hard"]
    return [value for value in candidates if is_valid(config, key, value)]


def is_valid(config: ExperimentConfig, key: str, value: Any) -> bool:
    try:
        return override(config, {key: value}) != config
    except Exception:
        return False


def shapes(config: ExperimentConfig) -> dict[str, Any]:
    head = build_head(config, 16)
    return {name: (tensor.shape, tensor.dtype) for name, tensor in head.state_dict().items()}


@pytest.mark.parametrize("model", ["hybrid", "mlp_twin", "linear_projection"])
def test_nothing_that_may_mutate_changes_the_shape_of_a_weight(
    small_config: Callable[..., ExperimentConfig], tiny_header: Header, model: str
) -> None:
    for key in searchable_keys():
        hidden = {"mlp.hidden_layers": [4] * 6} if key[-1].isdigit() else {}
        config = small_config({"model": model, **hidden})
        parameter = FloatParameter(type="float", low=0.0, high=1.0)
        if not mutable_keys(Space(tiny_header, config, {key: parameter})):
            return
        values = other_values(config, key)
        assert values
        for value in values:
            assert shapes(override(config, {key: value})) == shapes(config)


@pytest.fixture
def tiny_header(tiny_space: Space) -> Header:
    return tiny_space.header
