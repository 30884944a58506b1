"""The plan of the experiments: data sets, models with their configurations, and trainings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantum_rerank.config import DataConfig, ExperimentConfig, load_config, override
from quantum_rerank.datasets import domain_of, load_collection
from quantum_rerank.errors import ConfigError, MissingPackage
from quantum_rerank.evaluation import COSINE
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.models import FIRST_STAGE, LEXICAL_MODELS, as_model
from quantum_rerank.yaml_source import load_yaml

DEFAULT, TUNED, TWIN, TUNED_TWIN = "default", "tuned", "mlp_twin", "tuned_twin"
HYBRIDS = ("hybrid", "hybrid_amplitude")
FIXED = (COSINE, *LEXICAL_MODELS, FIRST_STAGE)
"""The models without randomness. One seed is enough for each split."""

ALONE = "alone"
"""Stands for the role `test` where the model is scored without the first stage."""

BEIR_FOLDERS = ("scifact", "cran", "cisi", "npl", "cosqa", "med")
GPE_TOPICS = ("celebrity_gossip", "history", "life_common_sense", "medical", "politics", "science")

# The fastest engine gives the same numbers. A training has one thread.
ENGINE = {"circuit.engine": "statevector", "circuit.threads": 1}

_DECIDED = {
    "model": "the rows are the models. Select them with --model; --tuned names the file of the "
    "tuned hybrid",
    "seed": "every row is trained on the same seeds, from 1 to the number given by --seeds",
    "data": "every data set has its own collections and splits. Select them with --collection, "
    "--beir and --encoder",
}
"""Section or key that no override may set -> the reason."""

OF_THE_MODEL = ("lexical", "language")
"""Keys of the data that a tuned configuration decides."""


@dataclass(frozen=True)
class Dataset:
    """A data set that models are trained, selected and tested on.

    Attributes:
        name: The name of the data set.
        seen: The domains to train on.
        collections: Role of test queries (`test`, `unseen_test`, ALONE), or domain that is
            scored by itself -> name of the collection.
        unseen_validation: The domains that are used for validation only.
        unseen_test: The domains that are used for testing only.
        splits_by_seed: Whether each seed draws its own split, which tests on more than a fifth of
            the queries: the smaller data sets have few. False for the data of the search, whose
            test queries must be those of the experiments.
        train_queries: The number of training queries, if their number is cut. Each seed draws
            its own, and validation queries are cut in the same proportion.
    """

    name: str
    seen: tuple[str, ...]
    collections: Mapping[str, str]
    unseen_validation: tuple[str, ...] = ()
    unseen_test: tuple[str, ...] = ()
    splits_by_seed: bool = True
    train_queries: int | None = None

    @property
    def differs_by_seed(self) -> bool:
        """True if the seeds have other training or validation queries."""
        return self.splits_by_seed or self.train_queries is not None

    def data(self, encoder: str, seed: int) -> DataConfig:
        """Return the data section of a training's configuration."""
        drawn: dict[str, Any] = {"split_seed": seed} if self.splits_by_seed else {}
        if self.train_queries is not None:
            drawn |= {"train_queries": self.train_queries, "train_queries_seed": seed}
            drawn["cut_validation"] = True
        return DataConfig(
            **drawn,
            seen=self.seen,
            unseen_validation=self.unseen_validation,
            unseen_test=self.unseen_test,
            encoder=encoder,
        )


def _chapters(numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"icd10:{number}" for number in numbers)


SEEN, UNSEEN = "icd10_seen", "icd10_unseen"
FAR = {"icd10:13": "icd10_13", "icd10:20": "icd10_20"}
"""Chapters whose queries are far from those that are trained on."""

ICD10 = Dataset(
    "icd10",
    _chapters([1, 2, 4, 5, 9, 11, 12, 14, 15, 17, 18, 21]),
    {"test": SEEN, "unseen_test": UNSEEN, **FAR},
    unseen_validation=_chapters([7, 8]),
    unseen_test=_chapters([3, 6, 10, 16, 13, 20]),
    splits_by_seed=False,
)
"""The data set of the search, which used its validation queries and chapters."""
PACKAGED = (
    ICD10,
    Dataset("gpe", tuple(f"gpe:{topic}" for topic in GPE_TOPICS), {"test": "gpe"}),
    Dataset("zaragoza", ("zaragoza:all",), {"test": "zaragoza"}),
)
NAMES = (*(dataset.name for dataset in PACKAGED), *BEIR_FOLDERS)


@dataclass(frozen=True)
class Chosen:
    """The selected data sets. left_out: name -> the reason why a data set is missing."""

    datasets: tuple[Dataset, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def choose_datasets(beir: Path | None, names: Sequence[str] = ()) -> Chosen:
    """Return the data sets that are available.

    Args:
        beir: The folder of BEIR folders, if there is one.
        names: Names of data sets or of their collections, or any collections by their source,
            such as `csv:clicks.csv`; all named data sets if empty.

    Raises:
        ConfigError: A name is unknown, or no data set is available.
        DataError: A collection by its source cannot be read.
    """
    sources = [_of_source(name) for name in names if ":" in name]
    names = [name for name in names if ":" not in name]
    by_name = {name: dataset.name for dataset in PACKAGED for name in dataset.collections.values()}
    by_name |= {name: name for name in NAMES}
    if unknown := [name for name in names if name not in by_name]:
        raise ConfigError(
            [
                f"`{name}` is not a data set. Valid names: {', '.join(NAMES)}. Name a collection "
                f"of your own by its source, such as csv:{name}.csv."
                for name in unknown
            ]
        )
    selected = {by_name[name] for name in names} or (set() if sources else set(NAMES))
    available, left_out = sources, dict[str, str]()
    for dataset in (*PACKAGED, *(_beir(beir, name) for name in BEIR_FOLDERS)):
        if dataset.name not in selected:
            continue
        if reason := _reason_missing(dataset, beir):
            left_out[dataset.name] = reason
        else:
            available.append(dataset)
    if not available:
        raise ConfigError([f"{name} is missing: {reason}" for name, reason in left_out.items()])
    return Chosen(tuple(available), left_out)


def _of_source(spec: str) -> Dataset:
    """Return a collection of any source, which is split anew for each seed."""
    load_collection(spec)
    name = re.sub(r"[^\w.-]+", "_", domain_of(spec))
    return Dataset(name, (spec,), {"test": name})


def _beir(folder: Path | None, name: str) -> Dataset:
    return Dataset(name, (f"beir:{(folder or Path()) / name}",), {"test": name})


def _reason_missing(dataset: Dataset, beir: Path | None) -> str:
    """Return the reason why a data set is not available, or an empty text.

    The content is not checked here.
    """
    if dataset.name in BEIR_FOLDERS:
        if beir is None:
            return "no folder of BEIR folders was given"
        return "" if (beir / dataset.name).is_dir() else "no such folder"
    try:
        load_collection(dataset.seen[0])
    except MissingPackage as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Setup:
    """A row of the tables: a model and its configuration except data and seed."""

    model: str
    config: ExperimentConfig


def setups(
    tuned: ExperimentConfig, tuned_twin: ExperimentConfig, overrides: Mapping[str, Any]
) -> dict[str, Setup]:
    """Return every row by name, the baselines first.

    `default` has the default configuration. `tuned` and `tuned_twin` each have the result of a
    search, for a hybrid and for the MLP twin. The controls have the configuration of the tuned
    hybrid, and so its epochs, its patience and its number of MLP outputs.

    Args:
        tuned: The configuration of the tuned hybrid.
        tuned_twin: The configuration of the tuned MLP twin.
        overrides: Dotted key -> value, for all rows.

    Raises:
        ConfigError: An override is of the model, the seed or the data, or a tuned configuration
            has another model.
    """
    if decided := [key for key in overrides if key.split(".")[0] in _DECIDED]:
        raise ConfigError(
            [f"`{key}` cannot be set: {_DECIDED[key.split('.')[0]]}." for key in decided]
        )
    untuned = override(ExperimentConfig(), {**ENGINE, **overrides})
    tuned = override(tuned, {**ENGINE, **overrides})
    tuned_twin = override(tuned_twin, {**ENGINE, **overrides})
    for name, config, models in ((TUNED, tuned, HYBRIDS), (TUNED_TWIN, tuned_twin, (TWIN,))):
        if config.model not in models:
            raise ConfigError(
                f"`model` of `{name}` is '{config.model}', but must be {' or '.join(models)}."
            )
    controls = [model for model in MODELS if model not in (tuned.model, *FIXED)]
    baselines = {model: Setup(model, override(untuned, {"model": COSINE})) for model in FIXED}
    if tuned.has_lexical_part:
        lexical = {f"data.{name}": getattr(tuned.data, name) for name in OF_THE_MODEL}
        baselines[FIRST_STAGE] = Setup(FIRST_STAGE, override(untuned, {"model": COSINE, **lexical}))
    else:
        del baselines[FIRST_STAGE]
    return {
        **baselines,
        DEFAULT: Setup(untuned.model, untuned),
        TUNED: Setup(tuned.model, tuned),
        TUNED_TWIN: Setup(tuned_twin.model, tuned_twin),
        **{model: Setup(model, as_model(tuned, model)) for model in controls},
    }


def selected_rows(
    models: Sequence[str], rows: Mapping[str, Setup], where: str, always: Sequence[str] = ()
) -> dict[str, Setup]:
    """Return the selected rows, all where none is selected.

    Args:
        models: Names of the selected rows.
        rows: All rows.
        where: What the rows are of, for the message.
        always: Rows that are there in any case.

    Raises:
        ConfigError: There is no such row.
    """
    if unknown := [name for name in models if name not in rows]:
        valid = ", ".join(rows)
        raise ConfigError(
            [f"`{name}` is not a model of the {where}. Valid: {valid}." for name in unknown]
        )
    return {name: row for name, row in rows.items() if not models or name in (*always, *models)}


def read_tuned(path: Path) -> ExperimentConfig:
    """Read a configuration of nested sections, dotted keys, or both, without data and seed.

    Of the data only `lexical` and `language` are read.

    Raises:
        ConfigError: The file has mistakes, each with its line.
    """
    source = load_yaml(path)
    values, places = dict[str, Any](), dict[str, str]()
    for location, value in _leaves(source.values, ()):
        key = ".".join(location)
        section, _, name = key.partition(".")
        if section not in ("data", "seed") or name in OF_THE_MODEL:
            values[key], places[key] = value, source.at(location)
    return load_config(None, values, places)


def _leaves(
    values: Mapping[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


@dataclass(frozen=True)
class Task:
    """One training of the experiments.

    Attributes:
        dataset: The name of the data set.
        name: The name of the row.
        model: The model of the row.
        config: The configuration, with data and seed.
        n_queries: The number of training queries, see `subsets.reduced`; all if None.
    """

    dataset: str
    name: str
    model: str
    config: ExperimentConfig
    n_queries: int | None = None

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return self.config.seed

    @property
    def result_path(self) -> Path:
        """The path of the result below the folder of all results."""
        return Path(self.dataset) / self.name / f"{self.seed}.json"


def tasks(
    datasets: Sequence[Dataset], rows: Mapping[str, Setup], seeds: Sequence[int], encoder: str
) -> list[Task]:
    """Return every training, ordered by its data, which a worker caches once prepared.

    Args:
        datasets: The data sets.
        rows: The models and configurations.
        seeds: The seeds.
        encoder: The name of the encoder.
    """
    by_data = sorted(rows.items(), key=lambda row: row[1].config.data.lexical)
    return [
        Task(
            dataset.name,
            name,
            setup.model,
            setup.config.model_copy(
                update={"data": data_of(dataset, setup, encoder, seed), "seed": seed}
            ),
        )
        for dataset in datasets
        for seed in seeds
        for name, setup in by_data
        if name not in FIXED or dataset.differs_by_seed or seed == seeds[0]
    ]


def data_of(dataset: Dataset, setup: Setup, encoder: str, seed: int) -> DataConfig:
    """Return the data of a training, with the lexical score of its row."""
    of_row = {name: getattr(setup.config.data, name) for name in OF_THE_MODEL}
    return dataset.data(encoder, seed).model_copy(update=of_row)
