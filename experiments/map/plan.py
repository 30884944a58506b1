"""The plan of the map: sizes, models of equal output size, and trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.plan import (
    ALONE,
    ENGINE,
    OF_THE_MODEL,
    Dataset,
    Setup,
    Task,
    data_of,
)
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import COSINE
from quantum_rerank.training.models import FIRST_STAGE

HYBRID, PRODUCT = "hybrid", "product_circuit"
REAL, COMPLEX = "amplitude_real", "amplitude_complex"
TWIN, RBF, DISCRIMINANT = "mlp_twin", "rbf", "discriminant"
CIRCUITS = (HYBRID, PRODUCT)
QUANTUM = (HYBRID, REAL, COMPLEX)
CLASSICAL = (TWIN, RBF, DISCRIMINANT)
MODELS = (*QUANTUM, PRODUCT, *CLASSICAL)
PAIRS = (
    *((quantum, other) for quantum in QUANTUM for other in (*CLASSICAL, PRODUCT)),
    (COMPLEX, REAL),
)

FUSED = "fused"
SCORES = (FUSED, ALONE)
"""The two scores: fused with the first stage as in a ranking, and the affinity alone."""

MOST_QUBITS, MOST_LAYERS = 12, 8

_DECIDED = (
    *("model", "seed", "data", "mlp.outputs", "linear.rank"),
    *(f"circuit.{name}" for name in ("n_qubits", "n_layers", "amplitudes", "entangler")),
)
"""Sections and keys that the cells of the map decide."""


@dataclass(frozen=True)
class Cell:
    """A cell of the map: a number of outputs and a number of training queries."""

    outputs: int
    n_queries: int

    @property
    def name(self) -> str:
        """The name of the cell in files."""
        return f"{self.outputs}_outputs_{self.n_queries}_queries"

    def collection(self, score: str) -> str:
        """Return the name of the test queries with the fused score, or that of a model alone."""
        return f"{score} {self.name}"


def circuit_size(outputs: int) -> tuple[int, int]:
    """Return the qubits and layers of a circuit with as many angles as a model has outputs.

    Each qubit has two angles in each layer. Of all such circuits it is the one with as many qubits
    as layers, or with twice as many. It has two layers at least: an entangler after the last
    layer cancels in a fidelity.

    >>> [circuit_size(outputs) for outputs in (8, 16, 32, 64)]
    [(2, 2), (4, 2), (4, 4), (8, 4)]

    Raises:
        ConfigError: The number is not a power of two, or too small or large.
    """
    exponent = outputs.bit_length() - 1
    n_layers = 2 ** ((exponent - 1) // 2)
    n_qubits = outputs // (2 * n_layers)
    if outputs != 2**exponent or n_layers < 2 or n_layers > MOST_LAYERS or n_qubits > MOST_QUBITS:
        raise ConfigError(
            f"{outputs} outputs were asked for, but they must be 8, 16, 32, 64 or 128: 2^n real "
            "amplitudes, and two angles for each qubit and layer."
        )
    return n_qubits, n_layers


def epochs(n_queries: int) -> int:
    """Return the number of epochs, more than the 20 of the search.

    Few queries make few steps an epoch, and the loss of small models falls for so long.

    >>> epochs(50), epochs(200), epochs(500)
    (64, 48, 32)
    """
    return 64 if n_queries <= 100 else 48 if n_queries <= 200 else 32


def amplitude_qubits(outputs: int) -> tuple[int, int]:
    """Return the qubits of real and of complex amplitudes that are as many numbers as outputs.

    >>> amplitude_qubits(64)
    (6, 5)
    """
    exponent = outputs.bit_length() - 1
    return exponent, exponent - 1


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Check that no override is of a key that the map decides.

    Raises:
        ConfigError: An override is of such a key.
    """
    if decided := [k for k in overrides if k in _DECIDED or k.split(".")[0] in _DECIDED]:
        raise ConfigError(
            [
                f"`{key}` cannot be set: the cells and models of the map decide it."
                for key in decided
            ]
        )


def setups(tuned: ExperimentConfig, cell: Cell, overrides: Mapping[str, Any]) -> dict[str, Setup]:
    """Return the models of a cell by name, the first stage first.

    Apart from their sizes and epochs they have the configuration of the tuned hybrid.

    Args:
        tuned: The configuration of the tuned hybrid.
        cell: The cell.
        overrides: Dotted key -> value, for all models.
    """
    n_qubits, n_layers = circuit_size(cell.outputs)
    n_real, n_complex = amplitude_qubits(cell.outputs)
    n_epochs = epochs(cell.n_queries)
    common = {
        "mlp.outputs": cell.outputs,
        "linear.rank": cell.outputs,
        "circuit.n_qubits": n_qubits,
        "circuit.n_layers": n_layers,
        "training.max_epochs": n_epochs,
        "training.early_stopping_patience": n_epochs,
        **ENGINE,
        **overrides,
    }
    amplitudes = {
        REAL: {"circuit.amplitudes": "real", "circuit.n_qubits": n_real},
        COMPLEX: {"circuit.amplitudes": "complex", "circuit.n_qubits": n_complex},
    }
    rows = {}
    for name in MODELS:
        model = "hybrid_amplitude" if name in amplitudes else name
        changes = {**common, **amplitudes.get(name, {}), "model": model}
        rows[name] = Setup(model, override(tuned, changes))
    lexical = {f"data.{name}": getattr(tuned.data, name) for name in OF_THE_MODEL}
    first_stage = override(ExperimentConfig(), {**ENGINE, "model": COSINE, **lexical})
    return (
        {FIRST_STAGE: Setup(FIRST_STAGE, first_stage), **rows} if tuned.has_lexical_part else rows
    )


def dataset(collections: Sequence[str], cell: Cell) -> Dataset:
    """Return the data of a cell, with the split of the search."""
    names = {"test": cell.collection(FUSED), ALONE: cell.collection(ALONE)}
    return Dataset(cell.name, tuple(collections), names, splits_by_seed=False)


def tasks(
    cells: Mapping[Cell, tuple[Dataset, Mapping[str, Setup]]],
    seeds: Mapping[str, int],
    encoder: str,
) -> list[Task]:
    """Return every training, one seed of the whole map after the other.

    Args:
        cells: Cell -> its data and its models.
        seeds: Model -> the number of its seeds.
        encoder: The name of the encoder.
    """
    planned = []
    for seed in range(1, max(seeds.values()) + 1):
        for cell, (data, rows) in cells.items():
            planned += [
                _task(cell, data, name, setup, encoder, seed)
                for name, setup in rows.items()
                if seed <= seeds[name]
            ]
    return planned


def _task(cell: Cell, dataset: Dataset, name: str, setup: Setup, encoder: str, seed: int) -> Task:
    data = data_of(dataset, setup, encoder, seed)
    config = setup.config.model_copy(update={"data": data, "seed": seed})
    return Task(dataset.name, name, setup.model, config, cell.n_queries)
