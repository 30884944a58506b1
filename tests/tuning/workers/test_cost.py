from __future__ import annotations

import pytest
import torch

from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.similarity import MODELS, Head, build_head
from tuning.workers.cost import cost_of, latency


def head(model: str = "hybrid", n_qubits: int = 2, hidden: int = 8) -> Head:
    return build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=n_qubits, n_layers=2, engine="statevector"),
            mlp=MlpConfig(hidden_layers=[hidden], dropout=0.1),
        ),
        16,
    )


def test_parameters_are_the_weights_of_the_mlp_and_of_the_circuit() -> None:
    model = head()
    mlp = 16 * 8 + 8 + 8 * 8 + 8  # 2 qubits, 2 layers: 8 angles
    circuit = sum(weights.numel() for weights in model.circuit_parameters())
    assert circuit > 0
    assert cost_of(model, "parameters", 16) == float(mlp + circuit)
    assert cost_of(head(hidden=16), "parameters", 16) > cost_of(model, "parameters", 16)


@pytest.mark.parametrize("model_name", MODELS)
def test_a_latency_is_a_time_and_leaves_the_model_as_it_was(model_name: str) -> None:
    model = head(model_name).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert cost_of(model, "latency", 16) > 0.0
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_ten_qubits_take_longer_than_two() -> None:
    assert latency(head(n_qubits=10), 16) > latency(head(n_qubits=2), 16)
