"""The circuit as a PennyLane QNode: the readable reference, and its drawing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quantum_rerank.circuits.ansatz import Ansatz
from quantum_rerank.circuits.engines.engine import Engine
from quantum_rerank.circuits.weights import Weights


def state_qnode(ansatz: Ansatz) -> Callable[[Tensor], Tensor]:
    """Build a QNode from one batch of angles to its states.

    The QNode maps angles, (n_columns, batch) float64 in radians, to amplitudes,
    (batch, 2**n_qubits) complex128, qubit 0 the most significant bit. The batch comes last in
    the angles, as PennyLane broadcasts it.
    """
    import pennylane as qml

    device = qml.device("default.qubit", wires=ansatz.n_qubits)

    @qml.qnode(device, interface="torch", diff_method="backprop")  # type: ignore[untyped-decorator]
    def circuit(angles: Tensor) -> object:
        for gate in ansatz.gates:
            angle = () if gate.column is None else (angles[gate.column],)
            getattr(qml, gate.name)(*angle, wires=gate.wires)
        return qml.state()

    return circuit  # type: ignore[no-any-return]


def draw(ansatz: Ansatz) -> str:
    """Draw the circuit with the columns of its angles as text."""
    import pennylane as qml

    circuit = state_qnode(ansatz)
    columns = torch.arange(ansatz.n_columns, dtype=torch.float64)
    return str(qml.draw(circuit, decimals=0)(columns))


class QNodeEngine(Engine):
    """States by PennyLane's own simulator: slow, and the reference of all other engines."""

    def __init__(self, ansatz: Ansatz, precision: str = "float64", threads: int = 1) -> None:
        self._circuit = state_qnode(ansatz)
        self._dtype = {"float64": torch.complex128, "float32": torch.complex64}[precision]

    def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
        """See `Engine.states`; simulated in double precision in any case."""
        columns = angles if weights is None else weights.columns(angles)
        return self._circuit(columns.double().T).to(self._dtype)
