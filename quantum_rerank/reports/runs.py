"""Records of finished trainings and searches, and trainings grouped over seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from quantum_rerank.config import HOW_EMBEDDED, ExperimentConfig, build_config, flat
from quantum_rerank.errors import BundleError, DataError
from quantum_rerank.evaluation import NDCG
from quantum_rerank.records import read_record
from quantum_rerank.reports.records import require_search_record, require_training_record
from quantum_rerank.training.run_results import METRICS_FILE

SUMMARY_FILE = "summary.json"  # of a search
_TRAINING_KEYS = (
    "config",
    "objective",
    "history",
    "per_query",
    "splits",
    "best_epoch",
    "fusion_weight",
    "targets",
)
_SEARCH_KEYS = ("name", "baselines", "tested")


@dataclass(frozen=True)
class TrainingRun:
    """Folder of a finished training, with its `metrics.json` as `record`."""

    path: Path
    record: Mapping[str, Any]

    @cached_property
    def config(self) -> ExperimentConfig:
        """Configuration of the training; keys that its record does not name have their default."""
        return build_config(self.record["config"])

    @property
    def model(self) -> str:
        """Name of the configured model; the others are its baselines."""
        return self.config.model

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.config.seed

    @property
    def models(self) -> list[str]:
        """Names of all models of the run."""
        return list(self.record["objective"])

    def objective(self, model: str) -> float:
        """Return the validation objective of a model's best epoch."""
        return float(self.record["objective"][model])

    def scores(self, role: str, model: str) -> dict[str, float]:
        """Return `domain/query` -> NDCG@10."""
        return dict(self.record["per_query"][role][model][NDCG])


@dataclass(frozen=True)
class SearchRun:
    """Folder of a finished search, with its `summary.json` as `summary`."""

    path: Path
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Trainings that differ only in their seed, ordered by it."""

    name: str
    runs: tuple[TrainingRun, ...]

    @property
    def models(self) -> list[str]:
        """Names of the models that every run has trained."""
        return [
            model for model in self.runs[0].models if all(model in run.models for run in self.runs)
        ]

    @property
    def roles(self) -> list[str]:
        """Roles of the test queries."""
        return list(self.runs[0].record["per_query"])

    def mean_scores(self, role: str, model: str) -> dict[str, float]:
        """Return `domain/query` -> the mean NDCG@10 over seeds."""
        scores = [run.scores(role, model) for run in self.runs]
        return {query: fmean(seed[query] for seed in scores) for query in scores[0]}

    def domains(self, role: str) -> dict[str, str]:
        """Return `domain/query` -> domain, of the test queries of a role."""
        splits = self.runs[0].record["splits"]
        return {
            f"{domain}/{query}": domain
            for domain, roles in splits.items()
            for query in roles["test"]
            if f"{domain}/{query}" in self.runs[0].scores(role, self.models[0])
        }


def mean_over_domains(scores: Mapping[str, float], domains: Mapping[str, str]) -> float:
    """Return the mean over domains of the mean over their queries.

    Args:
        scores: Query -> score.
        domains: Query -> its domain.

    >>> domains = {"a/1": "a", "a/2": "a", "b/1": "b"}
    >>> mean_over_domains({"a/1": 1.0, "a/2": 0.0, "b/1": 0.0}, domains)
    0.25
    """
    by_domain: dict[str, list[float]] = {}
    for query, value in scores.items():
        by_domain.setdefault(domains[query], []).append(value)
    return fmean(map(fmean, by_domain.values()))


def read_runs(folders: Sequence[Path]) -> tuple[list[TrainingRun], list[SearchRun]]:
    """Read the records of finished runs.

    Args:
        folders: Folders of trainings and of searches.

    Raises:
        DataError: Some folders hold no finished run, or a record of another version; the message
            names all of them.
    """
    trainings, searches, problems = list[TrainingRun](), list[SearchRun](), list[str]()
    for folder in folders:
        try:
            run = _read_run(folder)
        except (BundleError, DataError) as error:
            problems.append(str(error))
        else:
            if isinstance(run, TrainingRun):
                trainings.append(run)
            else:
                searches.append(run)
    if problems:
        raise DataError(problems)
    return trainings, searches


def _read_run(folder: Path) -> TrainingRun | SearchRun:
    if (path := folder / METRICS_FILE).is_file():
        record = read_record(path, _TRAINING_KEYS, "Train again.")
        require_training_record(record, str(path))
        return TrainingRun(folder, record)
    if (path := folder / SUMMARY_FILE).is_file():
        summary = read_record(path, _SEARCH_KEYS, "Search again.")
        require_search_record(summary, str(path))
        return SearchRun(folder, summary)
    if not folder.exists():
        raise DataError(f"`{folder}` does not exist.")
    raise DataError(
        f"`{folder}` is not a finished run: it has neither {METRICS_FILE} nor {SUMMARY_FILE}."
    )


def grouped(runs: Sequence[TrainingRun]) -> list[Group]:
    """Group trainings of the same configuration and data.

    Args:
        runs: Finished trainings.

    Raises:
        DataError: Two trainings have the same seed too: the same training twice would add a
            spread of zero.
    """
    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    for same in groups.values():
        seeds = [run.seed for run in same]
        if len(set(seeds)) < len(seeds):
            paths = ", ".join(f"`{run.path}`" for run in same)
            raise DataError(f"{paths}: two runs have the same configuration, data and seed.")
    ordered = [tuple(sorted(same, key=lambda run: run.seed)) for same in groups.values()]
    names = [same[0].path.resolve().name for same in ordered]
    return [
        Group(name if names.count(name) == 1 else str(same[0].path), same)
        for name, same in zip(names, ordered, strict=True)
    ]


def _identity(run: TrainingRun) -> str:
    """Return a text that trainings have in common if they differ only in their seed."""
    config = run.config.model_dump(mode="json", exclude={"seed"})
    config["data"] = {k: value for k, value in config["data"].items() if k not in HOW_EMBEDDED}
    return json.dumps([config, run.record.get("data_fingerprint")], sort_keys=True)


def differing(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Return name of a group -> the dotted keys in which configurations differ -> its values."""
    configs = [flat(group.runs[0].config) for group in groups]
    keys = {key for config in configs for key in config if key != "seed"}
    changed = sorted(key for key in keys if len({repr(config.get(key)) for config in configs}) > 1)
    return {
        group.name: {key: config[key] for key in changed if key in config}
        for group, config in zip(groups, configs, strict=True)
    }
