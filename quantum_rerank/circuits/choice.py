"""The fastest engine for a circuit and a batch, which `engine: auto` stands for.

`python -m benchmarks.engines` measures it and prints this table anew.
"""

from __future__ import annotations

# Qubits up to -> texts from which `statevector` is ahead of `lightning.qubit`, whose kernels
# for a single large state are hand-written, at the cost of a call per gate and text.
STATEVECTOR_FROM: dict[int, float] = {
    3: 1,
    4: 4,
    5: 8,
    7: 16,
    8: 32,
    10: 64,
    12: float("inf"),
}


def fastest_engine(n_qubits: int, n_texts: int) -> str:
    """Return the engine to take for batches of `n_texts`.

    >>> fastest_engine(n_qubits=4, n_texts=96), fastest_engine(n_qubits=12, n_texts=96)
    ('statevector', 'lightning.qubit')
    """
    start = next((texts for most, texts in STATEVECTOR_FROM.items() if n_qubits <= most), None)
    return "statevector" if start is not None and n_texts >= start else "lightning.qubit"
