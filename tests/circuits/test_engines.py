"""Conformance suite of the engines: each must agree with the PennyLane QNode."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

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
# Of each entangler: every width and every depth, not every pair of them.
CIRCUITS = {
    entangler: [Ansatz(n_qubits, 1 + (n_qubits + shift) % 4, entangler) for n_qubits in range(2, 7)]
    for shift, entangler in enumerate(ENTANGLERS)
}
LARGEST = Ansatz(12, 8, "zz_ring")
SMALL = Ansatz(3, 2, "zz_ring")

every_engine = pytest.mark.parametrize("name", ENGINES)
every_entangler = pytest.mark.parametrize("entangler", ENTANGLERS)
WITH_THREADS = [*((name, 1) for name in ENGINES), ("statevector", 3)]


def circuits(entangler: str) -> list[Ansatz]:
    """Return the small circuits of an entangler, and the largest circuit if it has it."""
    return [*CIRCUITS[entangler], *([LARGEST] if LARGEST.entangler == entangler else [])]


def random_angles(ansatz: Ansatz, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(ansatz.n_columns)
    angles = torch.randn(batch, ansatz.n_columns, generator=generator, dtype=torch.float64)
    return (2 * angles).requires_grad_()


def fidelities(states: Tensor) -> Tensor:
    """(batch, 2**n) -> (batch, batch)."""
    overlaps = states.conj() @ states.mT
    return overlaps.abs() ** 2


def gradient(loss: Tensor, angles: Tensor) -> Tensor:
    return torch.autograd.grad(loss, angles, retain_graph=True)[0]


class Observed(NamedTuple):
    """The results of an engine that are compared with the reference."""

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


def assert_close(observed: Observed, expected: Observed, ansatz: Ansatz, **tolerance: Any) -> None:
    for field, actual, target in zip(Observed._fields, observed, expected, strict=True):
        where = f"{field} of {ansatz}"
        torch.testing.assert_close(
            actual, target, **tolerance, msg=lambda text, where=where: f"{where}: {text}"
        )


@every_entangler
@every_engine
def test_states_fidelities_and_gradients_equal_the_reference(name: str, entangler: str) -> None:
    for ansatz in circuits(entangler):
        observed = observe(make_engine(name, ansatz), random_angles(ansatz))
        assert_close(observed, reference(ansatz), ansatz, **TOLERANCE)


@every_entangler
@every_engine
def test_single_precision_stays_close_to_the_reference(name: str, entangler: str) -> None:
    for ansatz in circuits(entangler):
        engine = make_engine(name, ansatz, precision="float32")
        observed = observe(engine, random_angles(ansatz))
        assert observed.states.dtype == torch.complex64
        assert_close(observed, reference(ansatz), ansatz, **SINGLE)


@every_entangler
@every_engine
def test_gradients_equal_finite_differences(name: str, entangler: str) -> None:
    for ansatz in CIRCUITS[entangler]:
        engine = make_engine(name, ansatz)
        angles = random_angles(ansatz, batch=2)
        computed = gradient(fidelities(engine.states(angles))[0, 1], angles)
        # A random direction tests all angles at once.
        generator = torch.Generator().manual_seed(1)
        direction = torch.randn(angles.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        with torch.no_grad():
            above = fidelities(engine.states(angles + step * direction))[0, 1]
            below = fidelities(engine.states(angles - step * direction))[0, 1]
        expected = (above - below) / (2 * step)
        torch.testing.assert_close((computed * direction).sum(), expected, rtol=1e-6, atol=1e-8)


@every_entangler
@every_engine
def test_every_state_has_norm_one(name: str, entangler: str) -> None:
    for ansatz in CIRCUITS[entangler]:
        states = make_engine(name, ansatz).states(random_angles(ansatz))
        assert states.shape == (3, 2**ansatz.n_qubits)
        assert states.dtype == torch.complex128
        norms = states.abs().square().sum(dim=1)
        torch.testing.assert_close(norms, torch.ones(3, dtype=torch.float64), **TOLERANCE)


@every_engine
def test_gradients_pass_torch_s_own_check(name: str) -> None:
    ansatz = Ansatz(2, 2, "zz_ring")
    # Goes back through the same states once per amplitude.
    assert torch.autograd.gradcheck(
        make_engine(name, ansatz).states, random_angles(ansatz, batch=2)
    )


@pytest.mark.parametrize("precision", ["float64", "float32"])
@every_engine
def test_states_have_the_engine_s_precision_and_gradients_that_of_the_angles(
    name: str, precision: str
) -> None:
    for dtype in (torch.float64, torch.float32):
        angles = random_angles(SMALL).detach().to(dtype).requires_grad_()
        observed = observe(make_engine(name, SMALL, precision), angles)
        assert observed.states.dtype == COMPLEX[precision]
        assert observed.gradient_of_amplitudes.dtype == dtype
        assert_close(observed, reference(SMALL), SMALL, **SINGLE)


# `statevector` takes 128 texts at a time, and 32 of 12 qubits.
@pytest.mark.parametrize(
    ("ansatz", "batch"),
    [(SMALL, 1), (SMALL, 300), (Ansatz(3, 2), 300), (Ansatz(12, 2, "zz_ring"), 33)],
    ids=str,
)
@every_engine
def test_a_text_s_state_and_gradient_do_not_depend_on_its_batch(
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
    copied = first.detach().clone()
    loss = fidelities(first)[0].sum()
    second = engine.states(angles.detach() + 1.0)
    torch.testing.assert_close(first.detach(), copied, **TOLERANCE)
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


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda states: (states.T[:, :1] * states.T).imag.sum(),
    "conjugated": lambda states: states.mH.imag.sum(),
    "every other amplitude": lambda states: states[:, ::2].real.sum(),
    "a single text": lambda states: states[1].imag.sum(),
    "flipped": lambda states: states.flip(1).cumsum(1).real.sum(),
}


@every_engine
def test_cotangents_may_have_any_memory_layout(name: str) -> None:
    angles = random_angles(SMALL)
    for layout, loss in LOSSES.items():
        computed = gradient(loss(make_engine(name, SMALL).states(angles)), angles)
        expected = gradient(loss(QNodeEngine(SMALL).states(angles)), angles)
        assert torch.allclose(computed, expected, **TOLERANCE), layout


@pytest.mark.parametrize(("name", "threads"), WITH_THREADS)
def test_an_empty_batch_gives_no_states_and_no_gradient(name: str, threads: int) -> None:
    for entangler in ENTANGLERS:
        ansatz = Ansatz(3, 2, entangler)
        angles = random_angles(ansatz, batch=0)
        states = make_engine(name, ansatz, threads=threads).states(angles)
        assert states.shape == (0, 8)
        assert states.dtype == torch.complex128
        assert gradient(states.real.sum(), angles).shape == angles.shape


@every_engine
def test_an_angle_of_nan_spoils_only_its_own_text(name: str) -> None:
    for entangler in ENTANGLERS:
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
        computed = gradient((weights * doubled.real).sum(), angles)
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
    else:
        torch.testing.assert_close(computed, expected, **TOLERANCE)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@every_entangler
def test_the_number_of_threads_changes_nothing(entangler: str, precision: str) -> None:
    ansatz = Ansatz(4, 3, entangler)
    for batch in (1, 2, 7, 300):
        angles = random_angles(ansatz, batch)
        alone, shared = (
            observe(make_engine("statevector", ansatz, precision, threads), angles)
            for threads in (1, 3)
        )
        torch.testing.assert_close(shared.states, alone.states, **EXACT)
        # A smaller share has a smaller block, in which a gradient is added up in another order.
        rounding = 1e-13 if precision == "float64" else 1e-5
        assert_close(shared, alone, ansatz, rtol=0.0, atol=rounding)


def test_an_unknown_engine_is_refused_with_the_valid_names() -> None:
    with pytest.raises(
        ConfigError, match=r"`abacus` is not an engine\. Choose from lightning\.qubit, statevector"
    ):
        make_engine("abacus", SMALL)


# The reference is skipped: PennyLane keeps the gates of all threads in one queue.
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
    for expected, observed in zip(alone, together, strict=True):
        assert_close(observed, expected, SMALL, **EXACT)


def test_the_reference_replaces_an_engine_that_cannot_be_made(
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
def test_an_engine_without_second_derivatives_refuses_them(name: str) -> None:
    angles = random_angles(SMALL)
    loss = fidelities(make_engine(name, SMALL).states(angles))[0].sum()
    with pytest.raises(RuntimeError, match="no second derivatives; the engine `torch` has"):
        torch.autograd.grad(loss, angles, create_graph=True)


@pytest.mark.parametrize("name", ["lightning.qubit", "statevector"])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_states_are_saved_for_a_gradient_only_where_gradients_are_enabled(
    name: str, with_gradient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(name, SMALL)
    forward, saved = engine.forward, []  # type: ignore[attr-defined]

    def spied(angles: object, keep: bool) -> object:
        saved.append(keep)
        return forward(angles, keep)

    monkeypatch.setattr(engine, "forward", spied)
    with torch.set_grad_enabled(with_gradient):
        engine.states(random_angles(SMALL))
    assert saved == [with_gradient]


@pytest.mark.parametrize("name", ["lightning.qubit", "statevector"])
def test_angles_on_another_device_than_the_cpu_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="The engine `torch` computes where they are"):
        make_engine(name, SMALL).states(torch.zeros(1, SMALL.n_columns, device="meta"))


@every_engine
def test_half_precision_angles_are_accepted(name: str) -> None:
    angles = random_angles(SMALL).detach().bfloat16()
    half, single = (make_engine(name, SMALL).states(x) for x in (angles, angles.float()))
    torch.testing.assert_close(half, single)
