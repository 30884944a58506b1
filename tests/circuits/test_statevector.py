from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.circuits import Ansatz
from quantum_rerank.circuits.engines.statevector import cnot_orders

SIZES = range(2, 13)


def cnot(state: NDArray[np.float64], control: int, target: int) -> NDArray[np.float64]:
    """One CNOT, bit by bit; qubit 0 is the most significant."""
    n_qubits = len(state).bit_length() - 1
    after = np.empty_like(state)
    for k, amplitude in enumerate(state):
        bits = list(f"{k:0{n_qubits}b}")
        if bits[control] == "1":
            bits[target] = "0" if bits[target] == "1" else "1"
        after[int("".join(bits), 2)] = amplitude
    return after


def test_a_layer_s_cnots_one_by_one_are_one_reordering() -> None:
    for n_qubits in SIZES:
        ansatz = Ansatz(n_qubits, 1)
        state = np.random.default_rng(n_qubits).normal(size=2**n_qubits)
        after = state
        for gate in ansatz.gates:
            if gate.name == "CNOT":
                after = cnot(after, *gate.wires)
        order, inverse = cnot_orders(ansatz)
        np.testing.assert_array_equal(state[order], after)
        np.testing.assert_array_equal(after[inverse], state)


def test_the_orders_undo_each_other() -> None:
    for n_qubits in SIZES:
        order, inverse = cnot_orders(Ansatz(n_qubits, 3))
        np.testing.assert_array_equal(order[inverse], np.arange(2**n_qubits))
        np.testing.assert_array_equal(inverse[order], np.arange(2**n_qubits))


def test_an_entangler_without_cnots_reorders_nothing() -> None:
    order, inverse = cnot_orders(Ansatz(3, 2, "zz_ring"))
    assert order.size == inverse.size == 0
