from __future__ import annotations

import re

import numpy as np
import pennylane as qml
import pytest
import torch
from numpy.typing import NDArray

from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.errors import BundleError
from quantum_rerank.export.qasm import circuit_qasm
from quantum_rerank.similarity import Head, build_head, represent

DIM = 16
GATE = re.compile(r"(\w+)(?:\(([^)]+)\))? ([^;]+);")


def head_of(model: str, n_qubits: int, entangler: str) -> Head:
    """Return a head with random weights, including those of the circuit."""
    torch.manual_seed(3)
    head = build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=n_qubits, n_layers=2, entangler=entangler),
            mlp=MlpConfig(hidden_layers=(8,), dropout=0.3),
        ),
        DIM,
    ).eval()
    for parameter in head.circuit_parameters():
        torch.nn.init.normal_(parameter)
    return head


def amplitude_head(amplitudes: str) -> Head:
    torch.manual_seed(3)
    circuit = CircuitConfig(n_qubits=3, amplitudes=amplitudes)
    mlp = MlpConfig(hidden_layers=(8,), dropout=0.3)
    config = ExperimentConfig(model="hybrid_amplitude", circuit=circuit, mlp=mlp)
    return build_head(config, DIM).eval()


def simulated(text: str, n_qubits: int) -> NDArray[np.complex128]:
    """The state that a program of ry, rz and cx prepares, qubit 0 the most significant bit."""
    gates = {"ry": qml.RY, "rz": qml.RZ, "cx": qml.CNOT}
    operations = []
    for line in text.splitlines():
        if line.startswith(("OPENQASM", "include", "qreg", "creg", "//")) or not line.strip():
            continue
        match = GATE.fullmatch(line.strip())
        assert match is not None, line
        name, angle, wires = match.groups()
        qubits = [int(number) for number in re.findall(r"q\[(\d+)\]", wires)]
        operations.append(gates[name](*([float(angle)] if angle else []), wires=qubits))

    @qml.qnode(qml.device("default.qubit", wires=n_qubits))
    def program() -> object:
        for operation in operations:
            qml.apply(operation)
        return qml.state()

    return np.asarray(program())


@pytest.mark.parametrize("entangler", ["cnot_chain", "zz_ring"])
@pytest.mark.parametrize("model", ["hybrid", "hybrid_amplitude", "quantum_only"])
@pytest.mark.parametrize("n_qubits", [2, 3, 4])
def test_the_program_prepares_the_state_of_the_model(
    model: str, n_qubits: int, entangler: str
) -> None:
    head = head_of(model, n_qubits, entangler)
    embedding = np.random.default_rng(0).normal(size=DIM).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    expected = represent(head, embedding[None, :])[0].numpy()
    match = simulated(circuit_qasm(head, embedding), n_qubits)
    assert abs(np.vdot(match, expected)) ** 2 == pytest.approx(1.0, abs=1e-9)


def test_real_amplitudes_need_no_phases() -> None:
    embedding = np.random.default_rng(0).normal(size=DIM).astype(np.float32)
    programs = {kind: circuit_qasm(amplitude_head(kind), embedding) for kind in ("real", "complex")}
    assert "rz(" in programs["complex"]
    assert "rz(" not in programs["real"]
    expected = represent(amplitude_head("real"), embedding[None, :])[0].numpy()
    match = simulated(programs["real"], 3)
    assert abs(np.vdot(match, expected)) ** 2 == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("model", ["hybrid", "hybrid_amplitude"])
def test_programs_of_two_texts_have_the_fidelity_of_the_model(model: str) -> None:
    head = head_of(model, 3, "cnot_chain")
    rng = np.random.default_rng(1)
    pair = rng.normal(size=(2, DIM)).astype(np.float32)
    states = represent(head, pair)
    expected = head.compare(states[:1], states[1:]).item()
    left, right = (simulated(circuit_qasm(head, text), 3) for text in pair)
    assert abs(np.vdot(left, right)) ** 2 == pytest.approx(expected, abs=1e-6)


def test_a_program_declares_every_qubit_without_rotations() -> None:
    head = head_of("hybrid_amplitude", 3, "none")
    last = head.layers[-1]  # type: ignore[index]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.eye(16)[0])
    program = circuit_qasm(head, np.eye(DIM, dtype=np.float32)[0])
    assert "qreg q[3];" in program
    assert abs(simulated(program, 3)[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("model", ["cosine", "mlp_twin"])
def test_a_model_without_a_circuit_is_refused(model: str) -> None:
    with pytest.raises(BundleError, match="no circuit"):
        circuit_qasm(head_of(model, 2, "cnot_chain"), np.eye(DIM, dtype=np.float32)[0])
