"""The circuit of one text as OpenQASM 2, to be run elsewhere: written by PennyLane."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quantum_rerank.circuits import Gate, Weights, preparing_circuit
from quantum_rerank.embeddings import Embeddings
from quantum_rerank.errors import BundleError
from quantum_rerank.similarity import Head, represent
from quantum_rerank.similarity.fidelity import TrainedCircuit
from quantum_rerank.similarity.heads.quantum import AmplitudeHead


def circuit_qasm(head: Head, embedding: Embeddings) -> str:
    """The circuit that prepares a text's state from |0...0>, qubit 0 the most significant.

    Up to a global phase, which no fidelity sees. A head that predicts amplitudes has no
    circuit of its own: written is one that makes them.

    embedding: (dim,), L2-normalised float32.
    Raises: BundleError if the head has no state.
    """
    import pennylane as qml

    n_qubits, gates, columns = _circuit(head.eval(), embedding)
    operations = [
        getattr(qml, gate.name)(
            *(() if gate.column is None else (columns[gate.column],)), wires=gate.wires
        )
        for gate in gates
    ]
    script = qml.tape.QuantumScript(operations, [])
    return str(qml.to_openqasm(script, wires=qml.wires.Wires(range(n_qubits)), measure_all=False))


def _circuit(head: Head, embedding: Embeddings) -> tuple[int, Sequence[Gate], list[float]]:
    """How many qubits, gates in sequence, and the angles that a text gives them, in radians."""
    if isinstance(head, AmplitudeHead):
        amplitudes = represent(head, embedding[None, :])[0]
        gates, angles = preparing_circuit(amplitudes)
        return len(amplitudes).bit_length() - 1, gates, angles.tolist()
    circuit = next((m for m in head.modules() if isinstance(m, TrainedCircuit)), None)
    if circuit is None:
        raise BundleError("The model has no circuit: its model is a classical one.")
    ansatz = circuit.ansatz
    weights = Weights(circuit.weights, ansatz.n_angles, ansatz.n_shifts)
    columns = weights.columns(_angles(head, circuit, embedding))[0]
    return ansatz.n_qubits, ansatz.gates, columns.tolist()


def _angles(head: Head, circuit: nn.Module, embedding: Embeddings) -> Tensor:
    """What the head gives its circuit for a text, (1, n_angles), whatever predicts it."""
    seen: list[Tensor] = []
    hook = circuit.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    try:
        represent(head, embedding[None, :])
    finally:
        hook.remove()
    with torch.no_grad():
        return seen[0].double()
