"""One result, one file: whole or not there, and known by the numbers and data it came from."""

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
from quantum_rerank.atomic import write_json
from quantum_rerank.config import ExperimentConfig
from quantum_rerank.evaluation import NDCG, Scores


@dataclass(frozen=True)
class Result:
    """What is known of one training.

    record: as it lies on disk. `failed` says why there are no scores; where it is empty, `scores`
        has collection -> domain -> query -> NDCG@10, and the rest is what metrics.json of a
        training has.
    """

    record: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        return str(self.record["dataset"])

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def seed(self) -> int:
        return int(self.record["seed"])

    @property
    def failed(self) -> str:
        return str(self.record["failed"])

    @property
    def machine(self) -> str:
        """What it was measured on; empty where its record is from before that was written."""
        return str(self.record.get("machine", ""))

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Collection -> its queries' NDCG@10."""
        return {name: _scores(found) for name, found in self.record.get("scores", {}).items()}


def _scores(by_domain: Mapping[str, Mapping[str, float]]) -> Scores:
    """Every domain counts the same, as in every table of this project."""
    mean = fmean(fmean(found.values()) for found in by_domain.values())
    named = {f"{d}/{q}": (d, value) for d, found in by_domain.items() for q, value in found.items()}
    return Scores(
        {NDCG: mean},
        {NDCG: {query: value for query, (_, value) in named.items()}},
        {query: domain for query, (domain, _) in named.items()},
    )


def as_domains(scores: Scores) -> dict[str, dict[str, float]]:
    """Domain -> query -> NDCG@10: what `Result.scores` reads."""
    found: dict[str, dict[str, float]] = {}
    for query, value in scores.per_query[NDCG].items():
        domain = scores.domains[query]
        found.setdefault(domain, {})[query.removeprefix(f"{domain}/")] = value
    return found


def fingerprint(config: ExperimentConfig, model: str, data: str) -> str:
    """SHA-256 over a training's configuration, model and data, where these lie left out.

    data: over texts, judgments, splits and vectors, as far as their encoder tells them apart.
    The code and the versions of its libraries are not in it: whoever changes them and wants the
    results anew names another folder.
    """
    numbers = config.model_dump(mode="json")
    candidates = numbers.pop("data")["candidates"]
    text = json.dumps([model, numbers, candidates, data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Results:
    """The results of a study, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, task: Task, fingerprint: str) -> Result | None:
        """The result of a task; None where there is none, or one of other numbers or data."""
        try:
            record = json.loads((self._folder / task.place).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        same = isinstance(record, dict) and record.get("fingerprint") == fingerprint
        return Result(record) if same else None

    def write(self, task: Task, record: Mapping[str, Any]) -> None:
        """Put a result in place."""
        write_json(self._folder / task.place, record)


def by_name(results: Iterable[Result]) -> dict[str, dict[str, list[Result]]]:
    """Data set -> row -> its results by seed; what failed is not among them."""
    found: dict[str, dict[str, list[Result]]] = {}
    for result in sorted(results, key=lambda one: one.seed):
        if not result.failed:
            found.setdefault(result.dataset, {}).setdefault(result.name, []).append(result)
    return found
