"""The results of trainings, one JSON file each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.plan import Task
from quantum_rerank.atomic import output_errors, write_json
from quantum_rerank.config import ExperimentConfig
from quantum_rerank.evaluation import NDCG, Scores


@dataclass(frozen=True)
class Result:
    """The result of one training.

    Attributes:
        record: The JSON object on disk. `failed` is the reason why there are no scores. Where it
            is empty, `scores` has collection -> domain -> query -> NDCG@10, and the other keys
            are those of a training's metrics.json.
    """

    record: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return str(self.record["dataset"])

    @property
    def name(self) -> str:
        """The name of the row."""
        return str(self.record["name"])

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.record["seed"])

    @property
    def failed(self) -> str:
        """The reason why there is no model; empty if there is one."""
        return str(self.record["failed"])

    @property
    def machine(self) -> str:
        """The machine that trained; empty if it is not recorded."""
        return str(self.record.get("machine", ""))

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Collection -> the NDCG@10 of its queries."""
        by_collection = self.record.get("scores", {})
        return {name: _scores(by_domain) for name, by_domain in by_collection.items()}


def _scores(by_domain: Mapping[str, Mapping[str, float]]) -> Scores:
    queries = {f"{domain}/{query}": domain for domain, of in by_domain.items() for query in of}
    values = {
        f"{domain}/{query}": value
        for domain, of in by_domain.items()
        for query, value in of.items()
    }
    return Scores({NDCG: mean_over_domains(values, queries)}, {NDCG: values}, queries)


def mean_over_domains(values: Mapping[str, float], domains: Mapping[str, str]) -> float:
    """Return the mean over domains of the mean over their queries.

    Args:
        values: Query -> NDCG@10.
        domains: Query -> domain.

    >>> mean_over_domains({"1": 1.0, "2": 0.0, "3": 0.0}, {"1": "a", "2": "a", "3": "b"})
    0.25
    """
    by_domain: dict[str, list[float]] = {}
    for query, value in values.items():
        by_domain.setdefault(domains[query], []).append(value)
    return fmean(map(fmean, by_domain.values()))


def as_domains(scores: Scores) -> dict[str, dict[str, float]]:
    """Return domain -> query -> NDCG@10, the form in which `Result.scores` reads them."""
    by_domain: dict[str, dict[str, float]] = {}
    for query, value in scores.per_query[NDCG].items():
        domain = scores.domains[query]
        by_domain.setdefault(domain, {})[query.removeprefix(f"{domain}/")] = value
    return by_domain


def fingerprint(config: ExperimentConfig, model: str, data: str) -> str:
    """Return the SHA-256 of a training's configuration, model and data.

    The code and the versions of its libraries are not part of it. To train again after they
    changed, name another folder.

    Args:
        config: The configuration. The paths of its data are left out.
        model: The name of the model.
        data: The fingerprint of texts, judgments, splits and vectors.
    """
    values = config.model_dump(mode="json")
    used = {key: values["data"][key] for key in ("candidates", "lexical", "language")}
    del values["data"]
    text = json.dumps([model, values, used, data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Results:
    """The files of results below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, task: Task, fingerprint: str) -> Result | None:
        """Return the result of a task, or None if it is missing or has another fingerprint."""
        try:
            record = json.loads((self._folder / task.result_path).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        same = isinstance(record, dict) and record.get("fingerprint") == fingerprint
        return Result(record) if same else None

    def write(self, task: Task, record: Mapping[str, Any]) -> None:
        """Write the result of a task.

        Raises:
            OutputError: The file cannot be written.
        """
        path = self._folder / task.result_path
        with output_errors(path):
            write_json(path, record)


def by_name(results: Iterable[Result]) -> dict[str, dict[str, list[Result]]]:
    """Return data set -> row -> results in the order of seeds, without failed trainings."""
    by_dataset: dict[str, dict[str, list[Result]]] = {}
    for result in sorted(results, key=lambda result: result.seed):
        if not result.failed:
            by_dataset.setdefault(result.dataset, {}).setdefault(result.name, []).append(result)
    return by_dataset
