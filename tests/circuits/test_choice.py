from __future__ import annotations

from quantum_rerank.circuits import ENGINES
from quantum_rerank.circuits.choice import STATEVECTOR_FROM, fastest_engine

QUBITS = range(2, 13)
TEXTS = [0, 1, 2, 3, *(2**power + more for power in range(2, 13) for more in (-1, 0, 1))]


def test_every_circuit_and_batch_has_an_engine_that_exists() -> None:
    for n_qubits in QUBITS:
        assert {fastest_engine(n_qubits, n_texts) for n_texts in TEXTS} <= set(ENGINES)


def test_an_engine_for_batches_stays_ahead_in_larger_ones() -> None:
    for n_qubits in QUBITS:
        batched = [fastest_engine(n_qubits, n_texts) == "statevector" for n_texts in sorted(TEXTS)]
        assert batched == sorted(batched)


def test_the_table_reaches_the_largest_circuit_and_is_in_the_order_in_which_it_is_read() -> None:
    assert list(STATEVECTOR_FROM) == sorted(STATEVECTOR_FROM)
    assert max(STATEVECTOR_FROM) >= max(QUBITS)
