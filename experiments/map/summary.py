"""The summary of the map: every number of its page and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.grid import Grid
from experiments.summary import Difference, Failure, Mean, Training
from quantum_rerank.errors import DataError


@dataclass(frozen=True)
class CellDifference(Difference):
    """The difference between two models in one cell.

    Attributes:
        n_above: The number of seeds in which the first model is above the second.
    """

    n_above: int


@dataclass(frozen=True)
class LossCurve:
    """The training loss, mean over seeds.

    Attributes:
        first: The loss of the first epoch.
        third_quarter: The mean of the third quarter of the epochs.
        last_quarter: The mean of the last quarter.
    """

    first: float
    third_quarter: float
    last_quarter: float

    @property
    def share(self) -> float:
        """The part of the whole fall that the last quarter brings; 0 if there is none.

        >>> LossCurve(first=2.1, third_quarter=1.2, last_quarter=1.1).share
        0.1
        """
        fall = self.first - self.last_quarter
        late = max(self.third_quarter - self.last_quarter, 0.0)
        return round(late / fall, 3) if fall > 0.0 else 0.0


@dataclass(frozen=True)
class MapSummary:
    """Everything that the page of the map shows.

    Attributes:
        command: The command that prints it.
        machines: Descriptions of the machines that trained.
        collections: The collections.
        n_test: The number of test queries.
        outputs: The numbers of outputs.
        queries: The numbers of training queries.
        circuits: Number of outputs -> qubits and layers.
        qubits: Number of outputs -> qubits of real and of complex amplitudes.
        seeds: Model -> the number of its seeds.
        epochs: Number of training queries -> epochs.
        scores: FUSED or ALONE -> model x cell.
        differences: FUSED or ALONE -> `hybrid minus rbf` x cell.
        mean_differences: FUSED or ALONE -> `hybrid minus rbf` -> the mean over cells.
        trainings: Model x cell.
        losses: Model x cell.
        failed: The trainings that ended without a model.
        skipped: Sentences on input that was not used as given.
    """

    command: str
    machines: tuple[str, ...]
    collections: tuple[str, ...]
    n_test: int
    outputs: tuple[int, ...]
    queries: tuple[int, ...]
    circuits: Mapping[int, tuple[int, int]]
    qubits: Mapping[int, tuple[int, int]]
    seeds: Mapping[str, int]
    epochs: Mapping[int, int]
    scores: Mapping[str, Grid[Mean]]
    differences: Mapping[str, Grid[CellDifference]]
    mean_differences: Mapping[str, Mapping[str, float]]
    trainings: Grid[Training]
    losses: Grid[LossCurve]
    failed: tuple[Failure, ...] = ()
    skipped: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON objects."""
        grids = {
            name: {score: grid.as_json() for score, grid in getattr(self, name).items()}
            for name in ("scores", "differences")
        }
        return {
            **vars(self),
            **grids,
            "trainings": self.trainings.as_json(),
            "losses": self.losses.as_json(),
            "failed": [asdict(failure) for failure in self.failed],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> MapSummary:
        """Return the summary that `as_json` wrote."""

        def sizes(name: str) -> dict[int, tuple[int, int]]:
            return {
                int(number): (first, second) for number, (first, second) in record[name].items()
            }

        return cls(
            command=record["command"],
            machines=tuple(record["machines"]),
            collections=tuple(record["collections"]),
            n_test=record["n_test"],
            outputs=tuple(record["outputs"]),
            queries=tuple(record["queries"]),
            circuits=sizes("circuits"),
            qubits=sizes("qubits"),
            seeds=record["seeds"],
            epochs={int(number): epochs for number, epochs in record["epochs"].items()},
            scores={name: Grid.from_json(grid, Mean) for name, grid in record["scores"].items()},
            differences={
                name: Grid.from_json(grid, CellDifference)
                for name, grid in record["differences"].items()
            },
            mean_differences=record["mean_differences"],
            trainings=Grid.from_json(record["trainings"], Training),
            losses=Grid.from_json(record["losses"], LossCurve),
            failed=tuple(Failure(**failure) for failure in record["failed"]),
            skipped=tuple(record["skipped"]),
        )


def read_summary(path: Path) -> MapSummary:
    """Read a summary.

    Raises:
        DataError: The file cannot be read, or is not a summary of a map.
    """
    try:
        return MapSummary.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"`{path}` cannot be read: {error}.") from None
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise DataError(f"`{path}` is not a summary of a map: {error!r}.") from None
