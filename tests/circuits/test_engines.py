"""The conformance suite: what every engine must do, held to the PennyLane QNode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
import torch
from torch import Tensor

from quantum_rerank.circuits import ENGINES, Ansatz, make_engine
from quantum_rerank.circuits.ansatz import ENTANGLERS
from quantum_rerank.circuits.qnode import QNodeEngine

TOLERANCE = {"rtol": 0.0, "atol": 1e-9}
ANSATZE = [Ansatz(*sizes) for sizes in product(range(2, 7), range(1, 5), ENTANGLERS)]

every_engine = pytest.mark.parametrize("name", ENGINES)
every_ansatz = pytest.mark.parametrize("ansatz", ANSATZE, ids=str)
SMALL = Ansatz(3, 2, "zz_ring")


def random_angles(ansatz: Ansatz, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(ansatz.n_columns)
    angles = torch.randn(batch, ansatz.n_columns, generator=generator, dtype=torch.float64)
    return (2 * angles).requires_grad_()


def fidelities(states: Tensor) -> Tensor:
    """(batch, 2**n) -> (batch, batch)."""
    overlaps = states.conj() @ states.mT
    return overlaps.abs() ** 2


def gradient(loss: Tensor, angles: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, angles, retain_graph=True)
    return found


@every_ansatz
@every_engine
def test_states_fidelities_and_gradients_are_the_reference_s(name: str, ansatz: Ansatz) -> None:
    angles = random_angles(ansatz)
    reference = QNodeEngine(ansatz).states(angles)
    states = make_engine(name, ansatz).states(angles)
    torch.testing.assert_close(states, reference, **TOLERANCE)
    torch.testing.assert_close(fidelities(states), fidelities(reference), **TOLERANCE)
    # A loss of the amplitudes themselves sees phases that fidelities do not.
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(states.shape, generator=generator, dtype=torch.complex128)
    mixing = torch.randn(len(angles), len(angles), generator=generator, dtype=torch.float64)
    for loss in (
        lambda found: (weights * found).real.sum(),
        lambda found: (mixing * fidelities(found)).sum(),
    ):
        torch.testing.assert_close(
            gradient(loss(states), angles), gradient(loss(reference), angles), **TOLERANCE
        )


@every_ansatz
@every_engine
def test_gradients_are_those_of_finite_differences(name: str, ansatz: Ansatz) -> None:
    engine = make_engine(name, ansatz)
    angles = random_angles(ansatz, batch=2)
    loss = fidelities(engine.states(angles))[0, 1]
    found = gradient(loss, angles)
    # One random direction tests all angles at once.
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(angles.shape, generator=generator, dtype=torch.float64)
    step = 1e-5
    with torch.no_grad():
        above = fidelities(engine.states(angles + step * direction))[0, 1]
        below = fidelities(engine.states(angles - step * direction))[0, 1]
    expected = (above - below) / (2 * step)
    torch.testing.assert_close((found * direction).sum(), expected, rtol=1e-6, atol=1e-8)


@every_ansatz
@every_engine
def test_every_state_has_norm_one(name: str, ansatz: Ansatz) -> None:
    states = make_engine(name, ansatz).states(random_angles(ansatz))
    assert states.shape == (3, 2**ansatz.n_qubits)
    assert states.dtype == torch.complex128
    torch.testing.assert_close(
        states.abs().square().sum(dim=1), torch.ones(3, dtype=torch.float64), **TOLERANCE
    )


@every_engine
def test_single_precision_angles_get_a_single_precision_gradient(name: str) -> None:
    exact = random_angles(SMALL)
    single = exact.detach().float().requires_grad_()
    engine = make_engine(name, SMALL)
    found = gradient(fidelities(engine.states(single))[0].sum(), single)
    assert found.dtype == torch.float32
    expected = gradient(fidelities(engine.states(exact))[0].sum(), exact)
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=1e-5)


@every_engine
def test_a_text_s_state_does_not_depend_on_its_company(name: str) -> None:
    engine = make_engine(name, SMALL)
    angles = random_angles(SMALL)
    together = engine.states(angles)
    for row in range(len(angles)):
        torch.testing.assert_close(
            engine.states(angles[row : row + 1]), together[row : row + 1], **TOLERANCE
        )


@every_engine
def test_a_later_run_does_not_disturb_an_earlier_one(name: str) -> None:
    engine = make_engine(name, SMALL)
    angles = random_angles(SMALL)
    first = engine.states(angles)
    kept = first.detach().clone()
    loss = fidelities(first)[0].sum()
    second = engine.states(angles.detach() + 1.0)
    torch.testing.assert_close(first.detach(), kept, **TOLERANCE)
    assert not torch.allclose(first, second)
    alone = gradient(fidelities(make_engine(name, SMALL).states(angles))[0].sum(), angles)
    torch.testing.assert_close(gradient(loss, angles), alone, **TOLERANCE)


@every_engine
def test_angles_need_not_be_contiguous(name: str) -> None:
    engine = make_engine(name, SMALL)
    angles = random_angles(SMALL).detach()
    turned = angles.T.contiguous().T
    assert not turned.is_contiguous()
    torch.testing.assert_close(engine.states(turned), engine.states(angles), **TOLERANCE)


@every_engine
def test_angles_without_a_gradient_give_states_without_one(name: str) -> None:
    states = make_engine(name, SMALL).states(random_angles(SMALL).detach())
    assert not states.requires_grad


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"`abacus` is no engine\. Known: lightning\.qubit, statevector"
    ):
        make_engine("abacus", SMALL)


def test_an_engine_shared_by_threads_gives_each_its_own_states() -> None:
    ansatz = Ansatz(3, 2)
    engine = make_engine("lightning.qubit", ansatz)
    batches = [torch.randn(400, ansatz.n_columns, dtype=torch.float64) for _ in range(4)]
    alone = [engine.states(angles) for angles in batches]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(engine.states, batches))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_reference_takes_over_where_an_engine_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Changed:
        def __init__(self, ansatz: Ansatz, precision: str, threads: int) -> None:
            raise AttributeError("no attribute 'StateVectorC128'")

    monkeypatch.setitem(ENGINES, "lightning.qubit", Changed)
    with pytest.warns(UserWarning, match="`qnode` takes its place"):
        engine = make_engine("lightning.qubit", Ansatz(2, 1))
    assert isinstance(engine, QNodeEngine)
