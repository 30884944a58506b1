"""Time of a training step by each engine, compared with the MLP alone.

    python -m benchmarks.step --json

A step is 32 triplets: 96 texts through MLP and circuit, fidelities, triplet loss, backward pass,
clipping and Adam, on one thread. `mlp_only` is the same step with the classical twin, which has a
cosine instead of a circuit. `qnode_per_pair` is the code of a PennyLane tutorial: a
`lightning.qubit` QNode with adjoint gradients for each of the 64 pairs. `torchquantum` is
measured if it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import typer
from torch import Tensor, nn

from benchmarks.measuring import AsJson, in_turns, show, table
from quantum_rerank.circuits import ENGINES, Ansatz, CircuitConfig, Engine, Weights
from quantum_rerank.config import ExperimentConfig, OptimizerConfig
from quantum_rerank.similarity import FusedSimilarity, build_head
from quantum_rerank.similarity.heads.quantum import HybridHead
from quantum_rerank.training.loss_functions import LEFT_ALONE, pairwise_hinge
from quantum_rerank.training.optimizers import make_optimizer

TRIPLETS, EMBEDDING_DIM = 32, 384
ENGINE_OF = {
    "qnode_broadcast_states": "qnode",
    "torch": "torch",
    "lightning": "lightning.qubit",
    "statevector": "statevector",
}


class QNodePerPair(nn.Module):
    """Fidelities as in a tutorial: both circuits on one register, pair by pair."""

    def __init__(self, ansatz: Ansatz) -> None:
        super().__init__()
        import pennylane as qml

        device = qml.device("lightning.qubit", wires=ansatz.n_qubits)

        def apply(angles: Tensor) -> None:
            for gate in ansatz.gates:
                angle = () if gate.column is None else (angles[gate.column],)
                getattr(qml, gate.name)(*angle, wires=gate.wires)

        @qml.qnode(device, interface="torch", diff_method="adjoint")  # type: ignore[untyped-decorator]
        def overlap(left: Tensor, right: Tensor) -> Any:
            apply(left)
            qml.adjoint(apply)(right)
            zeros = [0] * ansatz.n_qubits
            return qml.expval(qml.Projector(zeros, wires=range(ansatz.n_qubits)))

        self._overlap = overlap

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return fidelities.

        Args:
            left: (n, n_angles) radians.
            right: (n, n_angles) radians.

        Returns:
            (n,) fidelities.
        """
        pairs = zip(left.double(), right.double(), strict=True)
        return torch.stack([self._overlap(a, b) for a, b in pairs])


class TorchQuantumEngine(Engine):
    """The same circuit by TorchQuantum, the whole batch at once."""

    def __init__(self, ansatz: Ansatz, precision: str, threads: int) -> None:
        import torchquantum

        self._quantum, self._ansatz = torchquantum, ansatz

    def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
        columns = angles if weights is None else weights.columns(angles)
        apply = self._quantum.functional
        device = self._quantum.QuantumDevice(n_wires=self._ansatz.n_qubits, bsz=len(columns))
        names = {"RY": apply.ry, "RZ": apply.rz, "CNOT": apply.cnot, "IsingZZ": apply.rzz}
        for gate in self._ansatz.gates:
            angle = {} if gate.column is None else {"params": columns[:, gate.column]}
            names[gate.name](device, wires=list(gate.wires), **angle)
        states: Tensor = device.get_states_1d()
        return states


def make_step(model_name: str, engine: str, n_qubits: int, n_layers: int) -> Callable[[], None]:
    """Build a training step of a model on random unit vectors."""
    model = FusedSimilarity(_head(model_name, engine, n_qubits, n_layers), 0.5)
    texts = _texts()
    same, none = torch.eye(TRIPLETS).bool(), torch.zeros(TRIPLETS, TRIPLETS).bool()
    grades = torch.full((TRIPLETS, 2 * TRIPLETS), LEFT_ALONE)
    grades[torch.cat([same, none], dim=1)], grades[torch.cat([none, same], dim=1)] = 1, 0

    def loss() -> Tensor:
        affinity, _ = model(texts[:TRIPLETS], texts[TRIPLETS:])
        return pairwise_hinge(affinity, grades, margin=0.5)

    return _with_update(model, loss)


def make_step_per_pair(n_qubits: int, n_layers: int) -> Callable[[], None]:
    """Build the same step with one QNode call per pair."""
    head = _head("hybrid", "lightning.qubit", n_qubits, n_layers)
    assert isinstance(head, HybridHead)
    fidelities = QNodePerPair(Ansatz(n_qubits, n_layers))
    texts = _texts()

    def loss() -> Tensor:
        queries, relevant, other = head.predictor(texts).split(TRIPLETS)
        near = fidelities(queries, relevant)
        far = fidelities(queries, other)
        return torch.relu(0.5 + far - near).mean()

    return _with_update(FusedSimilarity(head, 0.5), loss)


def _head(model: str, engine: str, n_qubits: int, n_layers: int) -> Any:
    torch.manual_seed(0)
    circuit = CircuitConfig(n_qubits=n_qubits, n_layers=n_layers, engine=engine)
    return build_head(ExperimentConfig(model=model, circuit=circuit), EMBEDDING_DIM)


def _texts() -> Tensor:
    return nn.functional.normalize(torch.randn(3 * TRIPLETS, EMBEDDING_DIM), dim=1)


def _with_update(model: FusedSimilarity, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = make_optimizer(model, OptimizerConfig())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def torchquantum_is_installed() -> bool:
    """Return whether TorchQuantum can be imported."""
    try:
        import torchquantum  # noqa: F401
    except ImportError:
        return False
    return True


def main(
    n_qubits: int = 4,
    n_layers: int = 3,
    repeats: int = 20,
    pair_repeats: int = 5,
    as_json: AsJson = False,
) -> None:
    """Print the median and the middle half of milliseconds per step."""
    torch.set_num_threads(1)
    engines = dict(ENGINE_OF)
    if torchquantum_is_installed():
        ENGINES.register("torchquantum", TorchQuantumEngine)
        engines = {"torchquantum": "torchquantum", **engines}
    per_pair = {"qnode_per_pair": make_step_per_pair(n_qubits, n_layers)}
    steps = {
        name: make_step("hybrid", engine, n_qubits, n_layers) for name, engine in engines.items()
    }
    steps["mlp_only"] = make_step("mlp_twin", "lightning.qubit", n_qubits, n_layers)
    taken = in_turns(per_pair, pair_repeats) | in_turns(steps, repeats, burst=25)
    medians = {name: spread.median for name, spread in taken.items()}
    record = {
        "ms": medians,
        "qnode_per_pair/lightning": medians["qnode_per_pair"] / medians["lightning"],
        "statevector/mlp_only": medians["statevector"] / medians["mlp_only"],
        "n_qubits": n_qubits,
        "n_layers": n_layers,
    }
    rows = [
        (name, *spread.cells(2), f"{spread.median / medians['mlp_only']:.2f}")
        for name, spread in taken.items()
    ]
    title = f"a step of {TRIPLETS} triplets, {n_qubits} qubits, {n_layers} layers"
    columns = ("engine", "ms", "middle half", "times mlp_only")
    show(record, [table(title, columns, rows)], as_json)


if __name__ == "__main__":
    typer.run(main)
