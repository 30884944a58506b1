"""The circuit of one text as OpenQASM 2, to be run elsewhere: written by PennyLane."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantum_rerank.circuits import Weights
from quantum_rerank.embeddings import Embeddings
from quantum_rerank.errors import BundleError
from quantum_rerank.similarity import Head, represent
from quantum_rerank.similarity.fidelity import TrainedCircuit


def circuit_qasm(head: Head, embedding: Embeddings) -> str:
    """The circuit that prepares a text's state from |0...0>, qubit 0 the most significant.

    embedding: (dim,), L2-normalised float32.
    Raises: BundleError if the head has no circuit.
    """
    import pennylane as qml

    circuit = next((m for m in head.modules() if isinstance(m, TrainedCircuit)), None)
    if circuit is None:
        raise BundleError("The model has no circuit: its arm is a classical one.")
    ansatz = circuit.ansatz
    weights = Weights(circuit.weights, ansatz.n_angles, ansatz.n_shifts)
    columns = weights.columns(_angles(head, circuit, embedding))[0].tolist()
    gates = [
        getattr(qml, gate.name)(
            *(() if gate.column is None else (columns[gate.column],)), wires=gate.wires
        )
        for gate in ansatz.gates
    ]
    script = qml.tape.QuantumScript(gates, [])
    wires = qml.wires.Wires(range(ansatz.n_qubits))
    return str(qml.to_openqasm(script, wires=wires, measure_all=False))


def _angles(head: Head, circuit: nn.Module, embedding: Embeddings) -> Tensor:
    """What the head gives its circuit for a text, (1, n_angles), whatever predicts it."""
    seen: list[Tensor] = []
    hook = circuit.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    try:
        represent(head.eval(), embedding[None, :])
    finally:
        hook.remove()
    with torch.no_grad():
        return seen[0].double()
