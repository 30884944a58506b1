from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from quantum_rerank.circuits import Ansatz, CircuitConfig, make_engine
from quantum_rerank.circuits.ansatz import ENTANGLERS
from quantum_rerank.similarity.fidelity import TrainedCircuit, fidelity

# Of each entangler every width and every depth, not every pair of them.
ANSATZE = [
    Ansatz(n_qubits, 1 + (n_qubits + shift) % 4, entangler)
    for shift, entangler in enumerate(ENTANGLERS)
    for n_qubits in range(2, 6)
]


def random_states(n: int, seed: int, dimension: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(n, dimension, generator=generator, dtype=torch.complex128)
    return states / states.norm(dim=1, keepdim=True)


def test_fidelity_of_a_state_with_itself_is_one() -> None:
    states = random_states(5, seed=0)
    torch.testing.assert_close(fidelity(states, states).diagonal(), torch.ones(5).double())


def test_fidelity_is_symmetric() -> None:
    left, right = random_states(4, seed=0), random_states(6, seed=1)
    torch.testing.assert_close(fidelity(left, right), fidelity(right, left).T)


def test_fidelity_lies_between_zero_and_one() -> None:
    values = fidelity(random_states(20, seed=0), random_states(20, seed=1))
    assert values.min() >= 0.0
    assert values.max() <= 1.0


def test_fidelity_of_orthogonal_states_is_zero() -> None:
    basis = torch.eye(4, dtype=torch.complex128)
    torch.testing.assert_close(fidelity(basis, basis), torch.eye(4).double())


def test_a_global_phase_changes_no_fidelity() -> None:
    left, right = random_states(3, seed=0), random_states(3, seed=1)
    phases = torch.polar(torch.ones(3), torch.tensor([0.3, 2.0, -1.0])).to(torch.complex128)
    torch.testing.assert_close(fidelity(left * phases[:, None], right), fidelity(left, right))


def test_the_same_unitary_on_both_sides_changes_no_fidelity() -> None:
    left, right = random_states(3, seed=0), random_states(3, seed=1)
    generator = torch.Generator().manual_seed(2)
    square = torch.randn(8, 8, generator=generator, dtype=torch.complex128)
    unitary = torch.linalg.qr(square).Q
    torch.testing.assert_close(fidelity(left @ unitary, right @ unitary), fidelity(left, right))


def test_fidelity_is_the_squared_cosine_of_half_the_angle_between_two_turns() -> None:
    def turned(angle: float) -> Tensor:
        return torch.tensor([[math.cos(angle / 2), math.sin(angle / 2)]]).to(torch.complex128)

    expected = math.cos(0.7 / 2) ** 2
    assert fidelity(turned(0.2), turned(0.9)).item() == pytest.approx(expected)


def test_leading_dimensions_are_compared_one_by_one() -> None:
    left, right = random_states(6, seed=0).reshape(2, 3, 8), random_states(8, seed=1)
    right = right.reshape(2, 4, 8)
    values = fidelity(left, right)
    assert values.shape == (2, 3, 4)
    for i in range(2):
        torch.testing.assert_close(values[i], fidelity(left[i], right[i]))


def circuit_of(ansatz: Ansatz, engine: str, start: str = "full") -> TrainedCircuit:
    sizes = {"n_qubits": ansatz.n_qubits, "n_layers": ansatz.n_layers}
    return TrainedCircuit(
        CircuitConfig(**sizes, entangler=ansatz.entangler, engine=engine, start=start)
    )


def random_angles(ansatz: Ansatz, batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    angles = torch.randn(batch, ansatz.n_angles, generator=generator, dtype=torch.float64)
    return angles.requires_grad_()


@pytest.mark.parametrize("ansatz", ANSATZE, ids=str)
def test_no_angle_and_no_trained_weight_is_dead(ansatz: Ansatz) -> None:
    circuit = circuit_of(ansatz, engine="lightning.qubit")
    angles = random_angles(ansatz)
    states = circuit(angles)
    weights = torch.randn(4, 4, generator=torch.Generator().manual_seed(4)).double()
    (weights * fidelity(states, states)).sum().backward()
    for name, weight in (("angles", angles), *circuit.named_parameters()):
        assert weight.grad is not None, name
        dead = (weight.grad.abs() < 1e-6).nonzero().tolist()
        assert not dead, f"no gradient reaches {name} at {dead}"


@pytest.mark.parametrize("ansatz", ANSATZE, ids=str)
def test_a_new_circuit_turns_by_just_the_predicted_angles(ansatz: Ansatz) -> None:
    angles = random_angles(ansatz)
    half_turns = torch.full((4, ansatz.n_entangler_angles), math.pi / 2).double()
    bare = make_engine("qnode", ansatz).states(torch.cat([angles, half_turns], dim=1))
    torch.testing.assert_close(circuit_of(ansatz, engine="lightning.qubit")(angles), bare)


@pytest.mark.parametrize("ansatz", ANSATZE, ids=str)
def test_a_start_near_the_identity_leaves_states_near_the_first_basis_state(
    ansatz: Ansatz,
) -> None:
    angles = 0.5 * random_angles(ansatz)
    first = torch.eye(2**ansatz.n_qubits, dtype=torch.complex128)[:1]
    lowest = {}
    for start in ("full", "near_identity"):
        circuit = circuit_of(ansatz, engine="statevector", start=start)
        lowest[start] = fidelity(circuit(angles), first).min()
    # Only RYs lead away from it: cos of half the angle, squared, is at least 1 - angle**2 / 4.
    columns = [column for layer in ansatz.layers for column in layer.ry]
    turned = 0.1 * angles[:, columns].abs().sum(dim=1).max()
    assert lowest["near_identity"] >= 1 - (turned / 2) ** 2
    assert lowest["near_identity"] > lowest["full"]


@pytest.mark.parametrize("ansatz", ANSATZE, ids=str)
def test_near_the_identity_no_angle_and_no_weight_is_dead(ansatz: Ansatz) -> None:
    circuit = circuit_of(ansatz, engine="statevector", start="near_identity")
    angles = random_angles(ansatz)
    states = circuit(angles)
    weights = torch.randn(4, 4, generator=torch.Generator().manual_seed(4)).double()
    (weights * fidelity(states, states)).sum().backward()
    for name, weight in (("angles", angles), *circuit.named_parameters()):
        assert weight.grad is not None, name
        assert (weight.grad != 0).all(), name


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("ansatz", ANSATZE[::4], ids=str)
def test_a_whole_turn_more_of_any_angle_changes_no_fidelity(ansatz: Ansatz, scale: float) -> None:
    circuit = circuit_of(ansatz, engine="statevector")
    with torch.no_grad():
        circuit.weights[: ansatz.n_angles] = scale
    angles = random_angles(ansatz).detach()
    with torch.no_grad():
        expected = fidelity(circuit(angles), circuit(angles))
        for one in range(ansatz.n_angles):
            turned = angles.clone()
            turned[:2, one] += 2 * math.pi / scale
            found = fidelity(circuit(turned), circuit(angles))
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_scale_and_shift_turn_the_angles() -> None:
    ansatz = Ansatz(2, 2)
    circuit = circuit_of(ansatz, engine="lightning.qubit")
    angles = random_angles(ansatz).detach()
    with torch.no_grad():
        circuit.weights[: ansatz.n_angles] = 2.0
        circuit.weights[ansatz.n_angles :] = 0.5
        found = circuit(angles)
    expected = 2.0 * angles
    expected[:, : ansatz.n_shifts] += 0.5
    torch.testing.assert_close(found, make_engine("qnode", ansatz).states(expected))


def test_a_circuit_s_weights_are_counted_by_hand() -> None:
    # 3 qubits and 2 layers: 12 scales, 12 - 3 shifts, and 3 edges between the two layers.
    ring = circuit_of(Ansatz(3, 2, "zz_ring"), engine="lightning.qubit")
    assert sum(p.numel() for p in ring.parameters()) == 12 + 9 + 3
    chain = circuit_of(Ansatz(3, 2), engine="lightning.qubit")
    assert sum(p.numel() for p in chain.parameters()) == 12 + 9


def test_gradients_of_a_fidelity_are_those_of_finite_differences_twice() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randn(n, 4, dtype=torch.complex128, generator=generator).requires_grad_()
        for n in (2, 3)
    )
    assert torch.autograd.gradcheck(fidelity, (left, right))
    assert torch.autograd.gradgradcheck(fidelity, (left, right))


@pytest.mark.parametrize("strided", [False, True])
def test_a_batch_of_fidelities_is_that_of_its_members(strided: bool) -> None:
    left, right = (torch.randn(5, n, 8, dtype=torch.complex128) for n in (2, 3))
    if strided:
        left, right = left[..., ::2], right[..., ::2]
    together = fidelity(left, right)
    for member, expected in enumerate(together):
        torch.testing.assert_close(fidelity(left[member], right[member]), expected)


def test_a_batch_against_itself_has_the_gradient_of_both_sides() -> None:
    states = torch.randn(3, 4, dtype=torch.complex128, requires_grad=True)
    weights = torch.randn(3, 3, dtype=torch.float64)
    once, kept = (
        torch.autograd.grad((weights * fidelity(states, states)).sum(), states, create_graph=more)
        for more in (False, True)
    )
    torch.testing.assert_close(kept[0], once[0])
    assert torch.autograd.gradgradcheck(lambda x: fidelity(x, x), (states,))
