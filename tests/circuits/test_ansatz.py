from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from quantum_rerank.circuits.ansatz import ENTANGLERS, Ansatz, Gate

ANSATZE = [Ansatz(*sizes) for sizes in product(range(2, 7), range(1, 5), ENTANGLERS)]


def test_four_qubits_and_three_layers_have_depth_15_and_24_angles() -> None:
    ansatz = Ansatz(n_qubits=4, n_layers=3)
    assert (ansatz.depth, ansatz.n_angles) == (15, 24)


@pytest.mark.parametrize(
    ("ansatz", "depth"),
    [
        # Per layer RY and RZ; three neighbours on a ring, between the two layers only.
        (Ansatz(3, 2, "zz_ring"), 2 * 2 + 3),
        # Two qubits have one edge, not the same one twice.
        (Ansatz(2, 3, "zz_ring"), 3 * 2 + 2 * 1),
        (Ansatz(5, 1, "zz_ring"), 2),
        (Ansatz(2, 1), 3),
        (Ansatz(4, 3, "none"), 3 * 2),
    ],
    ids=str,
)
def test_depth_counts_the_gates_of_each_layer_in_sequence(ansatz: Ansatz, depth: int) -> None:
    assert ansatz.depth == depth


def test_every_column_is_used_by_exactly_one_gate() -> None:
    for ansatz in ANSATZE:
        used = Counter(gate.column for gate in ansatz.gates if gate.column is not None)
        assert used == Counter(range(ansatz.n_columns))


def test_every_column_belongs_to_exactly_one_layer() -> None:
    for ansatz in ANSATZE:
        used: Counter[int] = Counter()
        for layer in ansatz.layers:
            used.update(layer.ry)
            used.update(layer.rz)
            used.update(gate.column for gate in layer.entangler if gate.column is not None)
        assert used == Counter(range(ansatz.n_columns))


def test_layers_and_gates_describe_the_same_circuit() -> None:
    for ansatz in ANSATZE:
        # Gates on different wires commute: what each wire meets, in its order, is the circuit.
        by_layer: dict[int, list[Gate]] = {q: [] for q in range(ansatz.n_qubits)}
        for layer in ansatz.layers:
            for q, (y, z) in enumerate(zip(layer.ry, layer.rz, strict=True)):
                by_layer[q] += [Gate("RY", (q,), y), Gate("RZ", (q,), z)]
            for gate in layer.entangler:
                for wire in gate.wires:
                    by_layer[wire].append(gate)
        for q, met in by_layer.items():
            assert met == [gate for gate in ansatz.gates if q in gate.wires]


def test_every_layer_has_the_same_cnots_and_its_angles_side_by_side() -> None:
    for ansatz in ANSATZE:
        # Compiled engines rely on both.
        for number, layer in enumerate(ansatz.layers):
            first = 2 * ansatz.n_qubits * number
            assert [*layer.ry, *layer.rz] == list(range(first, first + 2 * ansatz.n_qubits))
            cnots = [gate for gate in layer.entangler if gate.name == "CNOT"]
            assert cnots == [gate for gate in ansatz.layers[0].entangler if gate.name == "CNOT"]


def test_every_gate_acts_on_distinct_existing_wires() -> None:
    for ansatz in ANSATZE:
        for gate in ansatz.gates:
            assert len(set(gate.wires)) == len(gate.wires)
            assert set(gate.wires) <= set(range(ansatz.n_qubits))


def test_every_layer_rotates_every_qubit_twice() -> None:
    for ansatz in ANSATZE:
        turns = Counter((g.name, g.wires[0]) for g in ansatz.gates if g.name in {"RY", "RZ"})
        assert len(turns) == 2 * ansatz.n_qubits
        assert set(turns.values()) == {ansatz.n_layers}


def test_data_angles_precede_those_of_the_entanglers() -> None:
    for ansatz in ANSATZE:
        data = {gate.column for gate in ansatz.gates if gate.name in {"RY", "RZ"}}
        assert data == set(range(ansatz.n_angles))
        assert ansatz.n_columns == ansatz.n_angles + ansatz.n_entangler_angles


def test_only_the_rz_angles_of_the_last_layer_lack_a_shift() -> None:
    for ansatz in ANSATZE:
        unshifted = [
            gate
            for gate in ansatz.gates
            if gate.column is not None and ansatz.n_shifts <= gate.column < ansatz.n_angles
        ]
        assert [gate.wires for gate in unshifted] == [(q,) for q in range(ansatz.n_qubits)]
        assert {gate.name for gate in unshifted} == {"RZ"}


def test_every_qubit_is_entangled_with_another() -> None:
    for ansatz in ANSATZE:
        if ansatz.entangler == "none":
            continue
        if ansatz.entangler == "zz_ring" and ansatz.n_layers == 1:
            continue  # it stands between the layers
        touched = {q for gate in ansatz.gates if len(gate.wires) == 2 for q in gate.wires}
        assert touched == set(range(ansatz.n_qubits))


@pytest.mark.parametrize(("n_qubits", "n_layers"), [(1, 3), (0, 3), (4, 0), (4, -1)])
def test_a_circuit_that_is_too_small_is_refused(n_qubits: int, n_layers: int) -> None:
    with pytest.raises(ValueError, match=f"n_qubits is {n_qubits} and n_layers {n_layers}"):
        Ansatz(n_qubits, n_layers)


def test_an_unknown_entangler_is_refused_with_the_valid_names() -> None:
    with pytest.raises(ValueError, match="Choose from cnot_chain, zz_ring, none"):
        Ansatz(4, 3, "glue")
