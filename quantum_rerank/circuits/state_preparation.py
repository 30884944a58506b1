"""The circuit that prepares a given state, to run predicted amplitudes on a device."""

from __future__ import annotations

import torch
from torch import Tensor

from quantum_rerank.circuits.ansatz import Gate


def preparing_circuit(amplitudes: Tensor) -> tuple[tuple[Gate, ...], Tensor]:
    """Decompose a state into RY, RZ and CNOT gates on |0...0>, up to a global phase.

    2**(n + 2) - 6 gates for n qubits (Möttönen, Vartiainen, Bergholm and Salomaa, Quantum
    Inf. Comput. 5, 467, 2005); a state without phases needs no RZ.

    Args:
        amplitudes: (2**n,) complex, qubit 0 the most significant bit.

    Returns:
        Gates in sequence, and their angles in radians, (n_columns,) float64.

    >>> bell_pair = torch.tensor([1, 0, 0, 1], dtype=torch.complex128)
    >>> gates, angles = preparing_circuit(bell_pair)
    >>> [gate.name for gate in gates], angles.round(decimals=4).tolist()
    (['RY', 'RY', 'CNOT', 'RY', 'CNOT'], [1.5708, 1.5708, -1.5708])
    """
    import pennylane as qml

    exact = amplitudes.detach().to(torch.complex128)
    exact = exact / exact.norm()  # a complex64 state is further from 1 than PennyLane allows
    wires = range(len(exact).bit_length() - 1)
    gates: list[Gate] = []
    angles: list[float] = []
    for operation in qml.MottonenStatePreparation(exact.numpy(), wires=wires).decomposition():
        if operation.name == "GlobalPhase":  # it cancels in the modulus of an overlap
            continue
        column = len(angles) if operation.parameters else None
        angles += [float(angle) for angle in operation.parameters]
        gates.append(Gate(operation.name, tuple(operation.wires), column))
    return tuple(gates), torch.tensor(angles, dtype=torch.float64)
