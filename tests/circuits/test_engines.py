"""The conformance suite: what every engine must do, held to the PennyLane QNode."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from quantum_rerank.circuits import ENGINES, Ansatz, Engine, Weights, make_engine
from quantum_rerank.circuits.ansatz import ENTANGLERS
from quantum_rerank.circuits.qnode import QNodeEngine
from quantum_rerank.errors import ConfigError

TOLERANCE = {"rtol": 0.0, "atol": 1e-9}
# In single precision the worst of all engines is off by 1.7e-6 up to 6 qubits, by 3.8e-6 at 12.
SINGLE = {"rtol": 0.0, "atol": 1e-5, "check_dtype": False}
EXACT = {"rtol": 0.0, "atol": 0.0}
COMPLEX = {"float64": torch.complex128, "float32": torch.complex64}
ANSATZE = [Ansatz(*sizes) for sizes in product(range(2, 7), range(1, 5), ENTANGLERS)]
LARGEST = [Ansatz(12, 8, entangler) for entangler in ENTANGLERS]
SMALL = Ansatz(3, 2, "zz_ring")

every_engine = pytest.mark.parametrize("name", ENGINES)
every_ansatz = pytest.mark.parametrize("ansatz", ANSATZE, ids=str)
every_entangler = pytest.mark.parametrize("entangler", ENTANGLERS)
WITH_THREADS = [*((name, 1) for name in ENGINES), ("statevector", 3)]


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


class Observed(NamedTuple):
    """All that an engine is held to."""

    states: Tensor
    fidelities: Tensor
    gradient_of_amplitudes: Tensor  # sees phases that fidelities do not
    gradient_of_fidelities: Tensor


def observe(engine: Engine, angles: Tensor) -> Observed:
    states = engine.states(angles)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(states.shape, generator=generator, dtype=torch.complex128)
    mixing = torch.randn(len(angles), len(angles), generator=generator, dtype=torch.float64)
    return Observed(
        states.detach(),
        fidelities(states.detach()),
        gradient((weights * states).real.sum(), angles),
        gradient((mixing * fidelities(states)).sum(), angles),
    )


@cache
def reference(ansatz: Ansatz) -> Observed:
    return observe(QNodeEngine(ansatz), random_angles(ansatz))


@pytest.mark.parametrize("ansatz", [*ANSATZE, *LARGEST], ids=str)
@every_engine
def test_states_fidelities_and_gradients_are_the_reference_s(name: str, ansatz: Ansatz) -> None:
    found = observe(make_engine(name, ansatz), random_angles(ansatz))
    for one, other in zip(found, reference(ansatz), strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


@pytest.mark.parametrize("ansatz", [*ANSATZE, *LARGEST], ids=str)
@every_engine
def test_single_precision_stays_close_to_the_reference(name: str, ansatz: Ansatz) -> None:
    found = observe(make_engine(name, ansatz, precision="float32"), random_angles(ansatz))
    assert found.states.dtype == torch.complex64
    for one, other in zip(found, reference(ansatz), strict=True):
        torch.testing.assert_close(one, other, **SINGLE)


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


@every_entangler
@every_engine
def test_gradients_pass_torch_s_own_check(name: str, entangler: str) -> None:
    ansatz = Ansatz(2, 2, entangler)
    # Goes back through the same states once per amplitude.
    assert torch.autograd.gradcheck(
        make_engine(name, ansatz).states, random_angles(ansatz, batch=2)
    )


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@every_engine
def test_states_have_the_engine_s_precision_and_gradients_that_of_the_angles(
    name: str, dtype: torch.dtype, precision: str
) -> None:
    angles = random_angles(SMALL).detach().to(dtype).requires_grad_()
    found = observe(make_engine(name, SMALL, precision), angles)
    assert found.states.dtype == COMPLEX[precision]
    assert found.gradient_of_amplitudes.dtype == dtype
    for one, other in zip(found, reference(SMALL), strict=True):
        torch.testing.assert_close(one, other, **SINGLE)


# `statevector` takes 128 texts at a time, and 32 of 12 qubits.
@pytest.mark.parametrize(
    ("ansatz", "batch"),
    [(SMALL, 1), (SMALL, 3), (SMALL, 300), (Ansatz(3, 2), 300), (Ansatz(12, 2, "zz_ring"), 40)],
    ids=str,
)
@every_engine
def test_a_text_s_state_and_gradient_do_not_depend_on_its_company(
    name: str, ansatz: Ansatz, batch: int
) -> None:
    engine = make_engine(name, ansatz)
    angles = random_angles(ansatz, batch)
    states = engine.states(angles)
    weights = torch.linspace(-1.0, 1.0, states.shape[1], dtype=torch.float64)
    together = gradient((weights * states.real).sum(), angles)
    for row in sorted({0, 31, 32, 127, 128, 255, 256, batch - 1} & set(range(batch))):
        text = angles[row : row + 1].detach().requires_grad_()
        alone = engine.states(text)
        torch.testing.assert_close(alone, states[row : row + 1], **TOLERANCE)
        torch.testing.assert_close(
            gradient((weights * alone.real).sum(), text), together[row : row + 1], **TOLERANCE
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


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(lambda states: (states.T[:, :1] * states.T).imag.sum(), id="transposed"),
        pytest.param(lambda states: states.mH.imag.sum(), id="conjugated"),
        pytest.param(lambda states: states[:, ::2].real.sum(), id="every other amplitude"),
        pytest.param(lambda states: states[1].imag.sum(), id="one text"),
        pytest.param(lambda states: states.flip(1).cumsum(1).real.sum(), id="flipped"),
    ],
)
@every_engine
def test_cotangents_come_in_any_layout(name: str, loss: Callable[[Tensor], Tensor]) -> None:
    angles = random_angles(SMALL)
    found = gradient(loss(make_engine(name, SMALL).states(angles)), angles)
    expected = gradient(loss(QNodeEngine(SMALL).states(angles)), angles)
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize(("name", "threads"), WITH_THREADS)
@every_entangler
def test_no_texts_give_no_states_and_no_gradient(name: str, threads: int, entangler: str) -> None:
    ansatz = Ansatz(3, 2, entangler)
    angles = random_angles(ansatz, batch=0)
    states = make_engine(name, ansatz, threads=threads).states(angles)
    assert states.shape == (0, 8)
    assert states.dtype == torch.complex128
    assert gradient(states.real.sum(), angles).shape == angles.shape


@every_entangler
@every_engine
def test_an_angle_that_is_no_number_spoils_its_own_text_and_no_other(
    name: str, entangler: str
) -> None:
    ansatz = Ansatz(3, 2, entangler)
    engine = make_engine(name, ansatz)
    angles = random_angles(ansatz).detach()
    spoilt = angles.clone()
    spoilt[1, 0] = float("nan")
    states = engine.states(spoilt)
    assert states[1].isnan().all()
    torch.testing.assert_close(states[[0, 2]], engine.states(angles)[[0, 2]], **TOLERANCE)


@every_engine
def test_states_changed_in_place_never_give_a_wrong_gradient(name: str) -> None:
    angles = random_angles(SMALL)
    engine = make_engine(name, SMALL)
    weights = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)
    expected = 2 * gradient((weights * engine.states(angles).real).sum(), angles)
    doubled = engine.states(angles).mul_(2)
    try:
        found = gradient((weights * doubled.real).sum(), angles)
    except RuntimeError as refused:
        assert "modified by an inplace operation" in str(refused)
    else:
        torch.testing.assert_close(found, expected, **TOLERANCE)


@every_entangler
@pytest.mark.parametrize("batch", [1, 2, 7, 300])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_number_of_threads_changes_nothing(precision: str, batch: int, entangler: str) -> None:
    ansatz = Ansatz(4, 3, entangler)
    angles = random_angles(ansatz, batch)
    alone, shared = (
        observe(make_engine("statevector", ansatz, precision, threads), angles)
        for threads in (1, 3)
    )
    torch.testing.assert_close(shared.states, alone.states, **EXACT)
    # A smaller share has a smaller block, in which a gradient is added up in another order.
    rounding = 1e-13 if precision == "float64" else 1e-5
    for one, other in zip(shared, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=rounding)


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"`abacus` is not an engine\. Choose from lightning\.qubit, statevector"
    ):
        make_engine("abacus", SMALL)


# The reference is left out: PennyLane keeps the gates of all threads in one queue.
@pytest.mark.parametrize(
    ("name", "threads"), [engine for engine in WITH_THREADS if engine[0] != "qnode"]
)
def test_an_engine_shared_by_threads_gives_each_its_own_states(name: str, threads: int) -> None:
    engine = make_engine(name, SMALL, threads=threads)
    generator = torch.Generator().manual_seed(0)
    shape = (400, SMALL.n_columns)
    batches = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(4)
    ]
    alone = [observe(engine, angles) for angles in batches]
    with ThreadPoolExecutor(4) as callers:
        together = list(callers.map(lambda angles: observe(engine, angles), batches))
    for one, other in zip(alone, together, strict=True):
        for expected, found in zip(one, other, strict=True):
            torch.testing.assert_close(found, expected, **EXACT)


def test_the_reference_takes_over_where_an_engine_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Changed(Engine):
        def __init__(self, ansatz: Ansatz, precision: str, threads: int) -> None:
            raise AttributeError("no attribute 'StateVectorC128'")

        def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
            raise AssertionError("never called")

    monkeypatch.setitem(ENGINES, "lightning.qubit", Changed)
    with pytest.warns(UserWarning, match="`qnode` takes its place"):
        engine = make_engine("lightning.qubit", Ansatz(2, 1))
    assert isinstance(engine, QNodeEngine)


@pytest.mark.parametrize("name", ["lightning.qubit", "statevector"])
def test_a_second_derivative_is_refused_where_there_is_none(name: str) -> None:
    angles = random_angles(SMALL)
    loss = fidelities(make_engine(name, SMALL).states(angles))[0].sum()
    with pytest.raises(RuntimeError, match="no second derivatives; the engine `torch` has"):
        torch.autograd.grad(loss, angles, create_graph=True)


@pytest.mark.parametrize("name", ["lightning.qubit", "statevector"])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_nothing_is_kept_for_a_gradient_that_nobody_wants(
    name: str, with_gradient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(name, SMALL)
    forward, asked = engine.forward, []  # type: ignore[attr-defined]

    def spied(angles: object, keep: bool) -> object:
        asked.append(keep)
        return forward(angles, keep)

    monkeypatch.setattr(engine, "forward", spied)
    with torch.set_grad_enabled(with_gradient):
        engine.states(random_angles(SMALL))
    assert asked == [with_gradient]


@pytest.mark.parametrize("name", ["lightning.qubit", "statevector"])
def test_angles_elsewhere_than_on_the_cpu_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="The engine `torch` computes where they are"):
        make_engine(name, SMALL).states(torch.zeros(1, SMALL.n_columns, device="meta"))


@every_engine
def test_half_precision_angles_are_taken(name: str) -> None:
    angles = random_angles(SMALL).detach().bfloat16()
    found, expected = (make_engine(name, SMALL).states(x) for x in (angles, angles.float()))
    torch.testing.assert_close(found, expected)
