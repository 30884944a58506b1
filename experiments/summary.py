"""The summary of the experiments: every number of the page and of its pictures.

Numbers are rounded to at least the digits that the page shows. A difference is judged by its
rounded p-value, so that the page states nothing that its numbers do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.grid import Grid
from experiments.plan import FAR
from quantum_rerank.errors import DataError

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Row:
    """A model of the tables. patience: epochs without improvement after which it stops."""

    model: str
    max_epochs: int
    patience: int


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        mean: NDCG@10, or a relative gain in it as a fraction.
        sd: The standard deviation over seeds; None for one seed.
        n_seeds: The number of seeds.
    """

    mean: float
    sd: float | None
    n_seeds: int


@dataclass(frozen=True)
class Difference:
    """The difference in NDCG@10 between two models on one collection.

    Attributes:
        difference: The mean over queries.
        relative: The difference over the second model's score; None where that is 0.
        low: The lower end of the 95 % bootstrap interval.
        high: The upper end.
        p_value: Of the two-sided paired randomisation test.
        p_holm: The p-value after Holm's correction over the collections.
        n_seeds: The number of seeds that both models have.
    """

    difference: float
    relative: float | None
    low: float
    high: float
    p_value: float
    p_holm: float
    n_seeds: int

    @property
    def significant(self) -> bool:
        """True if the corrected p-value is below 0.05."""
        return self.p_holm < SIGNIFICANT

    @property
    def sign(self) -> str:
        """The sign in words, with the significance.

        >>> Difference(0.01, 0.02, -0.01, 0.03, p_value=0.2, p_holm=0.4, n_seeds=5).sign
        'above, not significantly'
        """
        if not self.difference:
            return "equal"
        word = "above" if self.difference > 0.0 else "below"
        return word if self.significant else f"{word}, not significantly"


@dataclass(frozen=True)
class TargetCounts:
    """The outcomes of one target on one data set.

    Attributes:
        passed: The number of trainings that reach the target.
        failed: The number that miss it.
        unknown: The number for which its value was not measured.
        low: The lowest value; None if none was measured.
        high: The highest value.
    """

    passed: int
    failed: int
    unknown: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Training:
    """The means over seeds of one model's trainings on one data set."""

    best_epoch: int
    epochs: int
    fusion_weight: float
    processor_seconds: int
    n_seeds: int


@dataclass(frozen=True)
class Failure:
    """A training that ended without a model."""

    dataset: str
    row: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Summary:
    """Everything that the page shows.

    Attributes:
        command: The command that runs the experiments.
        seeds: The seeds that were asked for.
        machines: Descriptions of the machines that trained.
        datasets: Data set -> whether each seed draws its own split.
        rows: Name -> the model of that row.
        searched: The tuned rows whose configurations are from the project's own searches.
        configuration: Key -> row -> value, for the keys in which tuned rows differ from `default`.
        n_queries: Collection -> the number of test queries over all seeds.
        scores: Collection x row -> NDCG@10.
        gains: Row x ICD-10 collection -> the gain over cosine as a fraction.
        differences: `tuned minus cosine` x collection.
        mean_differences: `tuned minus cosine` -> the mean over collections.
        rules: Target -> its threshold, such as `<= 0.05`.
        targets: Row -> target x data set.
        trainings: Row x data set.
        curves: The first data set -> row -> the best validation objective by epoch, mean over
            seeds. A training that stopped early counts with its last value.
        failed: The trainings that ended without a model.
        skipped: Sentences on input that was not used as given.
        left_out: Data set -> the reason why it is missing.
    """

    command: str
    seeds: tuple[int, ...]
    machines: tuple[str, ...]
    datasets: Mapping[str, bool]
    rows: Mapping[str, Row]
    searched: tuple[str, ...]
    configuration: Mapping[str, Mapping[str, Any]]
    n_queries: Mapping[str, int]
    scores: Grid[Mean]
    gains: Grid[Mean]
    differences: Grid[Difference]
    mean_differences: Mapping[str, float]
    rules: Mapping[str, str]
    targets: Mapping[str, Grid[TargetCounts]]
    trainings: Grid[Training]
    curves: Mapping[str, Mapping[str, Sequence[float]]]
    failed: tuple[Failure, ...] = ()
    skipped: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the summary as a JSON object, with its main results first."""
        return {
            "seeds": list(self.seeds),
            "collections": self._headline_scores(),
            "icd10": self._headline_gains(),
            "command": self.command,
            "machines": list(self.machines),
            "datasets": dict(self.datasets),
            "rows": {name: asdict(row) for name, row in self.rows.items()},
            "searched": list(self.searched),
            "configuration": {key: dict(values) for key, values in self.configuration.items()},
            "n_queries": dict(self.n_queries),
            "scores": self.scores.as_json(),
            "gains": self.gains.as_json(),
            "differences": self.differences.as_json(),
            "mean_differences": dict(self.mean_differences),
            "rules": dict(self.rules),
            "targets": {name: grid.as_json() for name, grid in self.targets.items()},
            "trainings": self.trainings.as_json(),
            "curves": {
                dataset: {name: list(curve) for name, curve in by_row.items()}
                for dataset, by_row in self.curves.items()
            },
            "failed": [asdict(failure) for failure in self.failed],
            "skipped": list(self.skipped),
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Summary:
        """Return the summary that `as_json` wrote.

        Raises:
            KeyError: A key is missing.
        """
        return cls(
            command=record["command"],
            seeds=tuple(record["seeds"]),
            machines=tuple(record["machines"]),
            datasets=record["datasets"],
            rows={name: Row(**row) for name, row in record["rows"].items()},
            searched=tuple(record["searched"]),
            configuration=record["configuration"],
            n_queries=record["n_queries"],
            scores=Grid.from_json(record["scores"], Mean),
            gains=Grid.from_json(record["gains"], Mean),
            differences=Grid.from_json(record["differences"], Difference),
            mean_differences=record["mean_differences"],
            rules=record["rules"],
            targets={
                name: Grid.from_json(grid, TargetCounts) for name, grid in record["targets"].items()
            },
            trainings=Grid.from_json(record["trainings"], Training),
            curves=record["curves"],
            failed=tuple(Failure(**failure) for failure in record["failed"]),
            skipped=tuple(record["skipped"]),
            left_out=record["left_out"],
        )

    def _headline_scores(self) -> dict[str, dict[str, float | None]]:
        """Return collection -> row -> mean NDCG@10."""
        return {
            collection: {
                name: cell.mean if (cell := self.scores.cells.get((collection, name))) else None
                for name in self.scores.columns
            }
            for collection in self.scores.rows
        }

    def _headline_gains(self) -> dict[str, float | None]:
        """Return the gains over cosine of `tuned` and of its twin with the same configuration."""
        return {
            f"{prefix}{word}_gain": cell.mean
            if (cell := self.gains.cells.get((name, f"icd10_{word}")))
            else None
            for prefix, name in (("", "tuned"), ("twin_", "mlp_twin"))
            for word in ("seen", "unseen")
        } | {
            f"far_gain.{name}": cell.mean
            for name in FAR.values()
            if (cell := self.gains.cells.get(("tuned", name)))
        }


def pair_name(name: str, other: str) -> str:
    """Return the name of a pair's row among the differences.

    >>> pair_name("tuned", "cosine")
    'tuned minus cosine'
    """
    return f"{name} minus {other}"


def read_summary(path: Path) -> Summary:
    """Read a summary.

    Raises:
        DataError: The file cannot be read, or is not a summary.
    """
    try:
        return Summary.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"`{path}` cannot be read: {error}.") from None
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise DataError(f"`{path}` is not a summary of the experiments: {error!r}.") from None


def compact_json(value: Any, indent: str = "") -> str:
    r"""Return JSON with each list or object of plain values on one line.

    >>> print(compact_json({"a": {"b": 1, "c": [2, 3]}, "d": [[1], [None]]}))
    {
     "a": {
      "b": 1,
      "c": [2,3]
     },
     "d": [
      [1],
      [null]
     ]
    }
    """
    inner = indent + " "
    children = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(isinstance(x, dict | list) for x in children):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {compact_json(item, inner)}" for key, item in value.items()]
    else:
        items = [compact_json(item, inner) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    separator = f",\n{inner}"
    return f"{opening}\n{inner}{separator.join(items)}\n{indent}{closing}"
