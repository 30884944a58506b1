"""What trainings and searches that have ended wrote down, read to be told together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from quantum_rerank.cli.training_record import METRICS_FILE
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation import NDCG

SEARCH_FILE = "summary.json"
_NEEDED = (
    "config",
    "objective",
    "history",
    "per_query",
    "splits",
    "best_epoch",
    "fusion_weight",
    "targets",
)
_NEEDED_OF_A_SEARCH = ("name", "baselines", "tested")


@dataclass(frozen=True)
class TrainingRun:
    """One training's folder. record: its metrics.json."""

    path: Path
    record: Mapping[str, Any]

    @property
    def model(self) -> str:
        """The model that was asked for; the others were trained beside it."""
        return str(self.record["config"]["model"])

    @property
    def seed(self) -> int:
        return int(self.record["config"]["seed"])

    @property
    def models(self) -> list[str]:
        return list(self.record["objective"])

    def objective(self, model: str) -> float:
        """The validation objective of a model's best epoch."""
        return float(self.record["objective"][model])

    def scores(self, role: str, model: str) -> dict[str, float]:
        """`domain/query` -> NDCG@10."""
        return dict(self.record["per_query"][role][model][NDCG])


@dataclass(frozen=True)
class SearchRun:
    """One search's folder. summary: its summary.json."""

    path: Path
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Trainings that differ in nothing but their seed, in its order."""

    name: str
    runs: tuple[TrainingRun, ...]

    @property
    def models(self) -> list[str]:
        """Those that every run has trained."""
        return [
            model for model in self.runs[0].models if all(model in run.models for run in self.runs)
        ]

    @property
    def roles(self) -> list[str]:
        return list(self.runs[0].record["per_query"])

    def mean_scores(self, role: str, model: str) -> dict[str, float]:
        """`domain/query` -> the mean NDCG@10 over seeds."""
        each = [run.scores(role, model) for run in self.runs]
        return {query: fmean(scores[query] for scores in each) for query in each[0]}

    def domains(self, role: str) -> dict[str, str]:
        """`domain/query` -> domain."""
        splits = self.runs[0].record["splits"]
        return {
            f"{domain}/{query}": domain
            for domain, roles in splits.items()
            for query in roles["test"]
            if f"{domain}/{query}" in self.runs[0].scores(role, self.models[0])
        }


def over_domains(scores: Mapping[str, float], domains: Mapping[str, str]) -> float:
    """The mean over domains of the mean over their queries.

    >>> over_domains({"a/1": 1.0, "a/2": 0.0, "b/1": 0.0}, {"a/1": "a", "a/2": "a", "b/1": "b"})
    0.25
    """
    by_domain: dict[str, list[float]] = {}
    for query, value in scores.items():
        by_domain.setdefault(domains[query], []).append(value)
    return fmean(map(fmean, by_domain.values()))


def read_runs(folders: Sequence[Path]) -> tuple[list[TrainingRun], list[SearchRun]]:
    """Read the records of runs.

    Raises: DataError with every folder that holds none, or one of an earlier version.
    """
    trainings, searches, problems = list[TrainingRun](), list[SearchRun](), list[str]()
    for folder in folders:
        if (folder / METRICS_FILE).is_file():
            if record := _read(folder / METRICS_FILE, _NEEDED, "Train anew", problems):
                trainings.append(TrainingRun(folder, record))
        elif (folder / SEARCH_FILE).is_file():
            needed = _NEEDED_OF_A_SEARCH
            if summary := _read(folder / SEARCH_FILE, needed, "Search anew", problems):
                searches.append(SearchRun(folder, summary))
        elif not folder.exists():
            problems.append(f"`{folder}` does not exist.")
        else:
            problems.append(
                f"`{folder}` is no run that has ended: it has neither {METRICS_FILE} "
                f"nor {SEARCH_FILE}."
            )
    if problems:
        raise DataError(problems)
    return trainings, searches


def grouped(runs: Sequence[TrainingRun]) -> list[Group]:
    """Put trainings of one configuration and data together.

    Raises: DataError where two of them have the same seed too: they are the same training, and
        would count as a spread of nothing.
    """
    from quantum_rerank.config import HOW_EMBEDDED, build_config

    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        # With the defaults of keys that are younger than the run.
        config = build_config(run.record["config"]).model_dump(mode="json", exclude={"seed"})
        config["data"] = {k: value for k, value in config["data"].items() if k not in HOW_EMBEDDED}
        key = json.dumps([config, run.record.get("data_fingerprint")], sort_keys=True)
        groups.setdefault(key, []).append(run)
    for same in groups.values():
        seeds = [run.seed for run in same]
        if len(set(seeds)) < len(seeds):
            paths = ", ".join(f"`{run.path}`" for run in same)
            raise DataError(f"{paths}: two are the same training, of one configuration and seed.")
    ordered = [tuple(sorted(same, key=lambda run: run.seed)) for same in groups.values()]
    names = [same[0].path.resolve().name for same in ordered]
    return [
        Group(name if names.count(name) == 1 else str(same[0].path), same)
        for name, same in zip(names, ordered, strict=True)
    ]


def differing(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Name of a group -> the dotted keys in which its configuration differs from another's."""
    from quantum_rerank.config import build_config, flat

    configs = [flat(build_config(group.runs[0].record["config"])) for group in groups]
    keys = {key for config in configs for key in config if key != "seed"}
    told = sorted(key for key in keys if len({repr(config.get(key)) for config in configs}) > 1)
    return {
        group.name: {key: config[key] for key in told if key in config}
        for group, config in zip(groups, configs, strict=True)
    }


def _read(
    path: Path, needed: Sequence[str], way_out: str, problems: list[str]
) -> dict[str, Any] | None:
    """A record that has all that is needed; None, and a problem more, where there is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"`{path}` cannot be read: {error}.")
        return None
    if not isinstance(record, dict):
        problems.append(f"`{path}` is no record of a run.")
        return None
    if missing := [key for key in needed if key not in record]:
        problems.append(
            f"`{path}` has no {', '.join(missing)}: an earlier version, or another program, "
            f"wrote it. {way_out}."
        )
        return None
    return record
