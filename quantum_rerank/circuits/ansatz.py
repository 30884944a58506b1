"""The circuit as plain data, which all engines walk.

    layer 1                      layer 2
    ─RY(x0)─RZ(x4)─●─────────────RY(x8)─RZ(x12)─ ...
    ─RY(x1)─RZ(x5)─X─●───────────RY(x9)─RZ(x13)─ ...
    ─RY(x2)─RZ(x6)───X─●─────────...
    ─RY(x3)─RZ(x7)─────X─────────...

Each rotation turns by `scale * x + shift`, with x predicted from the text
(data re-uploading: Pérez-Salinas et al., Quantum 4, 226, 2020) and scale and
shift trained, so that the circuit has parameters of its own.

Two texts are compared by the overlap of their states. Gates that do not depend on
the text cancel in it when they come after the last rotation that does. Hence there
is no shift on the last layer's RZ, and no trained angle in an entangler
after the last layer: they would be parameters without a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

Entangler = Literal["cnot_chain", "zz_ring", "none"]
ENTANGLERS: tuple[str, ...] = get_args(Entangler)


@dataclass(frozen=True)
class Gate:
    """A gate: its PennyLane name, its wires, and the column of its angle, if it has one."""

    name: str
    wires: tuple[int, ...]
    column: int | None = None


@dataclass(frozen=True)
class Layer:
    """A layer: on each qubit q an RY of column `ry[q]`, then an RZ of `rz[q]`; the entangler."""

    ry: tuple[int, ...]
    rz: tuple[int, ...]
    entangler: tuple[Gate, ...]


@dataclass(frozen=True)
class Ansatz:
    """RY and RZ on every qubit in each layer, then an entangler.

    `cnot_chain`: CNOTs from qubit i to i + 1, after every layer.
    `zz_ring`: exp(-i w ZZ / 2) between neighbours on a ring with trained w,
    between the layers.
    `none`: every state is a product of its qubits' states.

    >>> ansatz = Ansatz(n_qubits=4, n_layers=3)
    >>> ansatz.depth, ansatz.n_angles, ansatz.n_columns
    (15, 24, 24)
    """

    n_qubits: int
    n_layers: int
    entangler: str = "cnot_chain"

    def __post_init__(self) -> None:
        if self.n_qubits < 2 or self.n_layers < 1:
            raise ValueError(
                f"n_qubits is {self.n_qubits} and n_layers {self.n_layers}, "
                "but at least 2 and 1 are needed."
            )
        if self.entangler not in ENTANGLERS:
            choices = ", ".join(ENTANGLERS)
            raise ValueError(f"`{self.entangler}` is not an entangler. Choose from {choices}.")

    @property
    def n_angles(self) -> int:
        """Angles predicted from a text: an RY and an RZ per qubit and layer."""
        return 2 * self.n_qubits * self.n_layers

    @property
    def n_entangler_angles(self) -> int:
        """Trained angles of the entangler, each of which moves an overlap."""
        return len(self._ring) * (self.n_layers - 1) if self.entangler == "zz_ring" else 0

    @property
    def n_columns(self) -> int:
        """Angles that an engine takes per text: the data angles, then the entangler's."""
        return self.n_angles + self.n_entangler_angles

    @property
    def n_shifts(self) -> int:
        """Data angles that have a trained shift: all but those of the last layer's RZ."""
        return self.n_angles - self.n_qubits

    @property
    def depth(self) -> int:
        """Steps in sequence: RY, RZ and every gate of the entangler, layer by layer."""
        return 2 * self.n_layers + sum(len(layer.entangler) for layer in self.layers)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The circuit layer by layer. Column c is used by exactly one gate."""
        n = self.n_qubits
        firsts = range(0, self.n_angles, 2 * n)
        return tuple(
            Layer(tuple(range(c, c + n)), tuple(range(c + n, c + 2 * n)), self._entangle(layer))
            for layer, c in enumerate(firsts)
        )

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """All gates of all layers, from the first to the last."""
        gates: list[Gate] = []
        for layer in self.layers:
            gates += [Gate("RY", (q,), column) for q, column in enumerate(layer.ry)]
            gates += [Gate("RZ", (q,), column) for q, column in enumerate(layer.rz)]
            gates += layer.entangler
        return tuple(gates)

    def _entangle(self, layer: int) -> tuple[Gate, ...]:
        if self.entangler == "cnot_chain":
            return tuple(Gate("CNOT", (q, q + 1)) for q in range(self.n_qubits - 1))
        if self.entangler == "none" or layer == self.n_layers - 1:
            return ()
        first = self.n_angles + len(self._ring) * layer
        return tuple(Gate("IsingZZ", edge, first + e) for e, edge in enumerate(self._ring))

    @property
    def _ring(self) -> list[tuple[int, int]]:
        """Neighbours on a ring; two qubits have one edge, not the same one twice."""
        edges = [(q, q + 1) for q in range(self.n_qubits - 1)]
        return edges if self.n_qubits == 2 else [*edges, (self.n_qubits - 1, 0)]
