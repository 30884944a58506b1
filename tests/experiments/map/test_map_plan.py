from __future__ import annotations

import pytest
import torch

from experiments.map.plan import (
    CIRCUITS,
    MODELS,
    Cell,
    check_overrides,
    circuit_size,
    dataset,
    setups,
    tasks,
)
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import ConfigError
from quantum_rerank.similarity import MODELS as HEADS
from quantum_rerank.similarity import build_head

TUNED = override(ExperimentConfig(), {"data.lexical": "words", "mlp.hidden_layers": [8]})


@pytest.mark.parametrize("outputs", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_a_cell_has_as_many_outputs(name: str, outputs: int) -> None:
    config = setups(TUNED, Cell(outputs, 50), {})[name].config
    if name == "discriminant":
        assert config.linear.rank == outputs
    else:
        assert HEADS[config.model].n_outputs(config) == outputs


@pytest.mark.parametrize("outputs", [8, 16, 32, 64, 128])
def test_an_entangler_changes_the_fidelities_of_every_size(outputs: int) -> None:
    texts = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    fidelities = []
    for name in CIRCUITS:
        torch.manual_seed(0)
        head = build_head(setups(TUNED, Cell(outputs, 50), {})[name].config, 16).eval()
        states = head.represent(texts)
        fidelities.append(head.compare(states, states))
    assert not torch.allclose(*fidelities, atol=1e-4)


@pytest.mark.parametrize("outputs", [0, 4, 12, 256])
def test_a_size_that_not_all_models_can_have_is_refused(outputs: int) -> None:
    with pytest.raises(ConfigError, match="must be 8, 16, 32, 64 or 128"):
        circuit_size(outputs)


@pytest.mark.parametrize("key", ["model", "data.candidates", "mlp.outputs", "circuit.n_qubits"])
def test_a_key_that_the_map_decides_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="the cells and models of the map decide"):
        check_overrides({key: 1})
    check_overrides({"training.max_epochs": 1})


def test_trainings_are_planned_seed_by_seed_with_fewer_seeds_of_some_models() -> None:
    cells = [Cell(8, 4), Cell(8, 6)]
    names = ("hybrid", "rbf")
    rows = {cell: {name: setups(TUNED, cell, {})[name] for name in names} for cell in cells}
    data = {cell: (dataset(["beir:trees"], cell), rows[cell]) for cell in cells}
    planned = tasks(data, {"hybrid": 1, "rbf": 2}, "minilm")
    assert [(task.name, task.n_queries, task.seed) for task in planned] == [
        *(("hybrid", 4, 1), ("rbf", 4, 1), ("hybrid", 6, 1), ("rbf", 6, 1)),
        *(("rbf", 4, 2), ("rbf", 6, 2)),
    ]
    assert len({task.result_path for task in planned}) == len(planned)
    assert all(task.config.data.lexical == "words" for task in planned)
