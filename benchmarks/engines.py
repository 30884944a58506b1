"""Time of the circuit alone by each engine, by qubits, layers and batch size.

    python -m benchmarks.engines --json

A call computes the states of random angles and the gradient of the angles for a random cotangent,
on one thread. Values are microseconds per text. `ns per amplitude` divides them by the 2^n
amplitudes of a state: where it is not above the first row, the time grows no faster than 2^n.
(Each qubit adds a gate to a layer: the work is n 2^n.) The last table is the basis of
`engine: auto`: the smallest batch for which `statevector` is at least as fast as
`lightning.qubit`, for every entangler, next to the value in `circuits/choice.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
import typer
from rich.table import Table

from benchmarks.measuring import AsJson, Spread, milliseconds, show, table
from quantum_rerank.circuits import Ansatz, make_engine
from quantum_rerank.circuits.ansatz import ENTANGLERS
from quantum_rerank.circuits.choice import fastest_engine

QUBITS, LAYERS, TEXTS = 4, 3, 96
MANY_QUBITS = (2, 4, 6, 8, 10, 12)
MANY_LAYERS = (1, 2, 4, 8)
MANY_TEXTS = (32, 128, 512, 2048, 8192)
FEWEST_CALLS = 5
CHOICES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MOST_AMPLITUDES = 2**19  # of a batch, in the last table


@dataclass(frozen=True)
class Simulator:
    """An engine, and the largest number of qubits for which it is timed."""

    engine: str
    precision: str = "float64"
    most_qubits: int = 12


LIGHTNING, STATEVECTOR = "lightning.qubit", "statevector"
SIMULATORS = {
    LIGHTNING: Simulator("lightning.qubit"),
    STATEVECTOR: Simulator("statevector"),
    "statevector float32": Simulator("statevector", precision="float32"),
    "torch": Simulator("torch", most_qubits=10),
    "qnode": Simulator("qnode", most_qubits=8),
}
Costs = Mapping[int, Mapping[str, Spread]]


def make_call(simulator: Simulator, ansatz: Ansatz, n_texts: int) -> Callable[[], None]:
    """Return a call that computes states of random angles and their gradient."""
    engine = make_engine(simulator.engine, ansatz, simulator.precision)
    generator = torch.Generator().manual_seed(0)
    real = torch.float32 if simulator.precision == "float32" else torch.float64
    angles = torch.randn(n_texts, ansatz.n_columns, generator=generator, dtype=real)
    angles.requires_grad_()
    shape = (n_texts, 2**ansatz.n_qubits)
    cotangent = torch.randn(shape, generator=generator, dtype=real.to_complex())

    def call() -> None:
        torch.autograd.grad(engine.states(angles), angles, cotangent)

    return call


def costs(names: Sequence[str], ansatz: Ansatz, n_texts: int, seconds: float) -> dict[str, Spread]:
    """Return the microseconds per text of each simulator that supports the circuit.

    The simulators are timed in turns, each for some seconds and at least `FEWEST_CALLS` times.

    Args:
        names: The simulators.
        ansatz: The circuit.
        n_texts: The batch size.
        seconds: The time for each simulator.
    """
    calls = {
        name: make_call(SIMULATORS[name], ansatz, n_texts)
        for name in names
        if ansatz.n_qubits <= SIMULATORS[name].most_qubits
    }
    for call in calls.values():
        call()
    left = dict.fromkeys(calls, 1e3 * seconds)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    while waiting := [n for n in calls if left[n] > 0 or len(taken[n]) < FEWEST_CALLS]:
        for name in waiting:
            taken[name].append(milliseconds(calls[name]))
            left[name] -= taken[name][-1]
    return {
        name: Spread.of([1e3 * value / n_texts for value in values])
        for name, values in taken.items()
    }


def per_amplitude(by_qubits: Costs, name: str) -> dict[int, float]:
    """Return qubits -> nanoseconds per text and amplitude."""
    return {n: 1e3 * taken[name].median / 2**n for n, taken in by_qubits.items()}


def overtaken_from(ansatz: Ansatz, seconds: float) -> int | None:
    """Return the smallest batch from which `statevector` is never slower, or None."""
    result = None
    for n_texts in reversed(affordable(ansatz.n_qubits)):
        taken = costs((LIGHTNING, STATEVECTOR), ansatz, n_texts, seconds)
        if taken[STATEVECTOR].median > taken[LIGHTNING].median:
            break
        result = n_texts
    return result


def affordable(n_qubits: int) -> list[int]:
    """Return the batch sizes that are timed for a number of qubits.

    >>> affordable(12)[-1]
    128
    """
    return [n_texts for n_texts in CHOICES if n_texts * 2**n_qubits <= MOST_AMPLITUDES]


def chosen_from(n_qubits: int) -> int | None:
    """Return the smallest batch for which `engine: auto` selects `statevector`."""
    return next((n for n in CHOICES if fastest_engine(n_qubits, n) == STATEVECTOR), None)


def later(measured: Mapping[str, int | None]) -> int | None:
    """Return the smallest batch that is sufficient for every entangler."""
    sizes = [n_texts for n_texts in measured.values() if n_texts is not None]
    return max(sizes) if len(sizes) == len(measured) else None


def costs_table(title: str, first: str, rows: Costs, *divided: str) -> Table:
    """Return medians with the middle half below them, one row per size.

    Args:
        title: The title.
        first: The name of the first column.
        rows: Size -> simulator -> time.
        divided: Simulators whose time per amplitude is shown too.
    """
    names = list(next(iter(rows.values())))
    shares = [per_amplitude(rows, name) for name in divided]
    columns = (first, *names, *(f"{name}\nns per amplitude" for name in divided))
    cells = [
        (
            str(size),
            *(_cell(taken[name]) if name in taken else "" for name in names),
            *(f"{share[size]:.0f}" for share in shares),
        )
        for size, taken in rows.items()
    ]
    return table(title, [column.replace(" float32", "\nfloat32") for column in columns], cells)


def _cell(spread: Spread) -> str:
    digits = 0 if spread.median >= 100 else 1 if spread.median >= 10 else 2
    return "\n".join(spread.cells(digits))


def choice_table(crossings: Mapping[int, Mapping[str, int | None]]) -> Table:
    """Return the measured and the chosen batch sizes, one row per number of qubits."""

    def cells(n_qubits: int, measured: Mapping[str, int | None]) -> tuple[str, ...]:
        most = affordable(n_qubits)[-1]
        sizes = [*(measured[name] for name in ENTANGLERS), later(measured)]
        chosen = chosen_from(n_qubits)
        return (
            str(n_qubits),
            *(f"above {most}" if n_texts is None else str(n_texts) for n_texts in sizes),
            "never" if chosen is None else str(chosen),
        )

    return table(
        "texts from which statevector is at least as fast as lightning.qubit",
        ("qubits", *ENTANGLERS, "every entangler", "circuits/choice.py"),
        [cells(n_qubits, measured) for n_qubits, measured in crossings.items()],
    )


def main(seconds: float = 0.3, as_json: AsJson = False) -> None:
    """Print the median and the middle half of microseconds per text.

    Each value is measured for `seconds`, and for half of it in the last table.
    """
    torch.set_num_threads(1)
    everyone = tuple(SIMULATORS)
    by_qubits = {n: costs(everyone, Ansatz(n, LAYERS), TEXTS, seconds) for n in MANY_QUBITS}
    by_layers = {n: costs(everyone, Ansatz(QUBITS, n), TEXTS, seconds) for n in MANY_LAYERS}
    some = (LIGHTNING, STATEVECTOR, "torch")
    by_texts = {n: costs(some, Ansatz(QUBITS, LAYERS), n, seconds) for n in MANY_TEXTS}
    crossings = {
        n: {name: overtaken_from(Ansatz(n, LAYERS, name), seconds / 2) for name in ENTANGLERS}
        for n in range(2, 13)
    }
    record = {
        "microseconds_by_qubits": as_figures(by_qubits),
        "nanoseconds_per_amplitude": {
            name: per_amplitude(by_qubits, name) for name in (STATEVECTOR, LIGHTNING)
        },
        "microseconds_by_layers": as_figures(by_layers),
        "microseconds_by_texts": as_figures(by_texts),
        "statevector_from": {
            n: {**measured, "every entangler": later(measured), "choice": chosen_from(n)}
            for n, measured in crossings.items()
        },
    }
    per_text = "microseconds per text"
    tables = [
        costs_table(
            f"{per_text}, {LAYERS} layers, {TEXTS} texts",
            "qubits",
            by_qubits,
            STATEVECTOR,
            LIGHTNING,
        ),
        costs_table(f"{per_text}, {QUBITS} qubits, {TEXTS} texts", "layers", by_layers),
        costs_table(f"{per_text}, {QUBITS} qubits, {LAYERS} layers", "texts", by_texts),
        choice_table(crossings),
    ]
    show(record, tables, as_json)


def as_figures(rows: Costs) -> dict[int, dict[str, dict[str, float]]]:
    """Return plain numbers: size -> simulator -> median, low, high."""
    return {
        size: {name: asdict(spread) for name, spread in taken.items()}
        for size, taken in rows.items()
    }


if __name__ == "__main__":
    typer.run(main)
