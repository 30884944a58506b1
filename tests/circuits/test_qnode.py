from __future__ import annotations

import math

import pytest
import torch

from quantum_rerank.circuits import Ansatz
from quantum_rerank.circuits.qnode import draw, state_qnode


def angles(*rows: list[float]) -> torch.Tensor:
    """One text per row, as columns."""
    return torch.tensor(rows, dtype=torch.float64).T


def test_without_a_turn_every_qubit_stays_zero() -> None:
    states = state_qnode(Ansatz(3, 2))(torch.zeros(12, 2, dtype=torch.float64))
    expected = torch.zeros(2, 8, dtype=torch.complex128)
    expected[:, 0] = 1.0
    torch.testing.assert_close(states, expected)


def test_qubit_0_is_the_most_significant_bit() -> None:
    flip_first = angles([math.pi, 0.0, 0.0, 0.0])
    # RY(pi) makes |10>, and the CNOT from qubit 0 to qubit 1 makes |11> of it.
    states = state_qnode(Ansatz(2, 1))(flip_first)
    torch.testing.assert_close(states.abs(), torch.tensor([[0.0, 0.0, 0.0, 1.0]]).double())


def test_a_half_turn_of_one_qubit_and_a_cnot_make_a_bell_pair() -> None:
    states = state_qnode(Ansatz(2, 1))(angles([math.pi / 2, 0.0, 0.0, 0.0]))
    half = 2**-0.5
    expected = torch.tensor([[half, 0, 0, half]], dtype=torch.complex128)
    torch.testing.assert_close(states, expected)


def test_zz_turns_the_phase_by_the_parity_of_its_qubits() -> None:
    # Both qubits half turned, then exp(-i w ZZ / 2): odd parity gains +w/2, even -w/2.
    w = 0.7
    columns = angles([math.pi / 2, math.pi / 2, 0, 0, 0, 0, 0, 0, w])
    states = state_qnode(Ansatz(2, 2, "zz_ring"))(columns)
    phases = torch.tensor([-w / 2, w / 2, w / 2, -w / 2], dtype=torch.float64)
    torch.testing.assert_close(states, torch.polar(torch.full((1, 4), 0.5).double(), phases[None]))


@pytest.mark.parametrize("entangler", ["cnot_chain", "zz_ring"])
def test_the_drawing_has_a_line_per_qubit_and_names_every_column(entangler: str) -> None:
    ansatz = Ansatz(3, 2, entangler)
    drawing = draw(ansatz)
    assert len(drawing.splitlines()) == 3
    for column in range(ansatz.n_columns):
        assert f"({column})" in drawing or f"({column}.0" in drawing
