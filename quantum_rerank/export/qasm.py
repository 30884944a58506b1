"""Export of a text's circuit as OpenQASM 2, written by PennyLane."""

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
    """Return the circuit that prepares the state of a text from |0...0>.

    Qubit 0 is the most significant. The state is prepared up to a global phase, which does not
    change a fidelity. A head that predicts amplitudes has no circuit. For such a head, the
    returned circuit prepares its amplitudes.

    Args:
        head: The head of a model.
        embedding: (dim,) float32, L2-normalised.

    Returns:
        OpenQASM 2 code without measurements.

    Raises:
        BundleError: The head has no quantum state.
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
    """Return the number of qubits, the gates in sequence, and their angles in radians."""
    if isinstance(head, AmplitudeHead):
        amplitudes = represent(head, embedding[None, :])[0]
        gates, angles = preparing_circuit(amplitudes)
        return len(amplitudes).bit_length() - 1, gates, angles.tolist()
    circuit = next((m for m in head.modules() if isinstance(m, TrainedCircuit)), None)
    if circuit is None:
        raise BundleError("The model has no circuit: it is a classical model.")
    ansatz = circuit.ansatz
    weights = Weights(circuit.weights, ansatz.n_angles, ansatz.n_shifts)
    columns = weights.columns(_angles(head, circuit, embedding))[0]
    return ansatz.n_qubits, ansatz.gates, columns.tolist()


def _angles(head: Head, circuit: nn.Module, embedding: Embeddings) -> Tensor:
    """Return the angles that a head predicts for a text, (1, n_angles)."""
    inputs: list[Tensor] = []
    hook = circuit.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    try:
        represent(head, embedding[None, :])
    finally:
        hook.remove()
    with torch.no_grad():
        return inputs[0].double()
