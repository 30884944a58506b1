"""Time of an epoch by each engine and by the classical twin: training and validation.

    python -m benchmarks.epoch --json

An epoch trains on every training query of the domains, with `margin_ranking` and 31 negatives,
and ranks the candidates of all validation queries, on one thread and without a warm-up.
Validation is timed separately after each epoch. Training is the rest. The default domains are
ICD-10 chapters, two of them unseen. `--seen`, repeated, selects others, such as
`--seen beir:FOLDER`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import typer

from benchmarks.measuring import AsJson, Spread, milliseconds, show, table
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.training.data_description import statistics
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.trainer import Trainer
from quantum_rerank.training.trial_data import PreparedData, TrialData
from quantum_rerank.training.validation import Validator

CHAPTERS = tuple(f"icd10:{n}" for n in (1, 2, 4, 5, 9, 11, 12, 14, 15, 17, 18, 21))
UNSEEN = ("icd10:7", "icd10:8")
TWIN = "mlp_twin"
MODELS: dict[str, dict[str, Any]] = {
    TWIN: {"model": "mlp_twin"},
    "statevector float64": {"circuit.engine": "statevector", "circuit.precision": "float64"},
    "statevector float32": {"circuit.engine": "statevector", "circuit.precision": "float32"},
    "lightning.qubit": {"circuit.engine": "lightning.qubit"},
}


@dataclass
class Times:
    """The seconds of some epochs of a model."""

    epoch: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)

    @property
    def training(self) -> list[float]:
        """The seconds of each epoch without its validation."""
        return [whole - part for whole, part in zip(self.epoch, self.validation, strict=True)]


def configuration(seen: tuple[str, ...], unseen: tuple[str, ...], epochs: int) -> ExperimentConfig:
    """Return the configuration that all models share, without early stopping."""
    return override(
        ExperimentConfig(),
        {
            "loss.name": "margin_ranking",
            "loss.negatives": 31,
            "warmup.steps": 0,
            "training.max_epochs": epochs,
            "training.early_stopping_patience": epochs,
            "data.seen": seen,
            "data.unseen_validation": unseen,
            "data.unseen_test": (),
        },
    )


def measure(config: ExperimentConfig, data: TrialData) -> dict[str, Times]:
    """Time the epochs of every model in turns. The first turn is not measured."""
    validator = Validator(
        data.validation_in_domain, data.validation_out_of_domain, config.training.objective
    )
    trainers = {name: make_trainer(override(config, keys), data) for name, keys in MODELS.items()}
    running = {name: trainer.epochs() for name, trainer in trainers.items()}
    times = {name: Times() for name in MODELS}
    for epoch in range(config.training.max_epochs):
        for name, trainer in trainers.items():
            whole, part = timed_epoch(trainer, running[name], validator)
            if epoch:
                times[name].epoch.append(whole)
                times[name].validation.append(part)
    return times


def timed_epoch(
    trainer: Trainer, epochs: Iterator[object], validator: Validator
) -> tuple[float, float]:
    """Return the seconds of the next epoch, and of its validation."""
    whole = milliseconds(lambda: next(epochs))
    part = milliseconds(lambda: validator(trainer.model.head))
    return whole / 1e3, part / 1e3


def description(prepared: PreparedData) -> str:
    """Return the number of domains and queries of an epoch."""
    rows = statistics(prepared)
    total = {role: sum(row.get(role, 0) for row in rows) for role in ("train", "validation")}
    return (
        f"an epoch over {len(prepared.trial.train)} domains, {total['train']} training "
        f"and {total['validation']} validation queries"
    )


def main(
    seen: Annotated[list[str] | None, typer.Option(help="Collection. Repeatable.")] = None,
    epochs: int = 5,
    as_json: AsJson = False,
) -> None:
    """Print the median and the middle half of seconds per epoch."""
    torch.set_num_threads(1)
    # One epoch more: the first compiles and allocates memory.
    config = configuration(tuple(seen or CHAPTERS), () if seen else UNSEEN, epochs + 1)
    prepared = prepare(config.data, embedding_source(config.data.encoder))
    times = measure(config, prepared.trial)
    spreads = {name: Spread.of(taken.epoch) for name, taken in times.items()}
    seconds = {name: spread.median for name, spread in spreads.items()}
    training = medians({name: taken.training for name, taken in times.items()})
    validation = medians({name: taken.validation for name, taken in times.items()})
    times_twin = {name: value / seconds[TWIN] for name, value in seconds.items()}
    record = {
        "seconds": seconds,
        "middle_half": {name: (spread.low, spread.high) for name, spread in spreads.items()},
        "training": training,
        "validation": validation,
        f"times_{TWIN}": times_twin,
        "epochs": epochs,
        "data": statistics(prepared),
    }
    rows = [
        (
            name,
            *spread.cells(2),
            f"{training[name]:.2f}",
            f"{validation[name]:.2f}",
            f"{times_twin[name]:.2f}",
        )
        for name, spread in spreads.items()
    ]
    columns = ("model", "s", "middle half", "of it training", "validation", f"times {TWIN}")
    show(record, [table(description(prepared), columns, rows)], as_json)


def medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    """Return name -> median."""
    return {name: Spread.of(values).median for name, values in times.items()}


if __name__ == "__main__":
    typer.run(main)
