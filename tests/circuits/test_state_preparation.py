from __future__ import annotations

import pennylane as qml
import pytest
import torch
from torch import Tensor

from quantum_rerank.circuits import preparing_circuit
from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.similarity import build_head


def prepared(amplitudes: Tensor) -> Tensor:
    """Return the state that PennyLane's simulator prepares by the circuit's gates."""
    gates, angles = preparing_circuit(amplitudes)

    @qml.qnode(qml.device("default.qubit", wires=len(amplitudes).bit_length() - 1))
    def circuit() -> object:
        for gate in gates:
            angle = () if gate.column is None else (angles[gate.column].item(),)
            getattr(qml, gate.name)(*angle, wires=gate.wires)
        return qml.state()

    return torch.as_tensor(circuit())


def random_state(n_qubits: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    generator = torch.Generator().manual_seed(n_qubits)
    state = torch.randn(2**n_qubits, dtype=dtype, generator=generator)
    return state / state.norm()


BELL = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.complex128) / 2**0.5
STATES = [
    *(pytest.param(random_state(n), id=f"random, {n} qubits") for n in (2, 3, 4, 6)),
    pytest.param(random_state(4).abs().to(torch.complex128), id="no phases"),
    pytest.param(random_state(4, torch.complex64), id="single precision"),
    pytest.param(torch.eye(8, dtype=torch.complex128)[5], id="one amplitude"),
    pytest.param(BELL, id="Bell pair"),
    pytest.param(-1j * BELL, id="Bell pair with a phase"),
]


@pytest.mark.parametrize("state", STATES)
def test_the_circuit_makes_the_state_up_to_a_global_phase(state: Tensor) -> None:
    made = prepared(state)
    assert made.norm().item() == pytest.approx(1.0)
    assert torch.vdot(made, state.to(made.dtype)).abs().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("state", STATES)
def test_a_device_needs_rotations_and_cnots_only(state: Tensor) -> None:
    gates, angles = preparing_circuit(state)
    assert {gate.name for gate in gates} <= {"RY", "RZ", "CNOT"}
    assert [g.column for g in gates if g.column is not None] == list(range(len(angles)))


def test_fidelities_of_texts_are_those_of_their_circuits() -> None:
    torch.manual_seed(0)
    head = build_head(
        ExperimentConfig(
            model="hybrid_amplitude",
            circuit=CircuitConfig(n_qubits=3, n_layers=1, engine="torch"),
            mlp=MlpConfig(hidden_layers=(8,), dropout=0.0),
        ),
        16,
    ).eval()
    with torch.no_grad():
        states = head.represent(torch.randn(3, 16))
    made = torch.stack([prepared(state) for state in states])
    torch.testing.assert_close(head.compare(made, made), head.compare(states, states))
