"""What the study trains and tests on, and with which numbers: as data, before anything is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantum_rerank.config import DataConfig, ExperimentConfig, load_config, override
from quantum_rerank.datasets import load_collection
from quantum_rerank.errors import ConfigError, MissingPackage
from quantum_rerank.evaluation import COSINE
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.models import LEXICAL_MODELS, as_model
from quantum_rerank.yaml_source import load_yaml

DEFAULT, TUNED, TWIN, TUNED_TWIN = "default", "tuned", "mlp_twin", "tuned_twin"
HYBRIDS = ("hybrid", "hybrid_amplitude")
FIXED = (COSINE, *LEXICAL_MODELS)
"""Models in which nothing is drawn at random: one seed is all of them, on one split."""

BEIR_FOLDERS = ("scifact", "cran", "cisi", "npl", "cosqa", "med")
GPE_TOPICS = ("celebrity_gossip", "history", "life_common_sense", "medical", "politics", "science")

# The fastest engine, which gives the same numbers; a training has one thread.
_ENGINE = {"circuit.engine": "statevector", "circuit.threads": 1}

_DECIDED = {
    "model": "its rows are the models. Choose them by --model; the tuned hybrid's is in the file "
    "that --tuned names",
    "seed": "every row is trained on the same seeds, from 1 to what --seeds says",
    "data": "every data set has its own collections and splits. Choose by --collection, --beir "
    "and --encoder",
}
"""Sections and keys that no override may set -> what decides them."""


@dataclass(frozen=True)
class Dataset:
    """Collections that one model is trained, chosen and tested on.

    collections: role of test queries (`test`, `unseen_test`) -> what the study calls them.
    splits_by_seed: every seed draws its own split, so that more queries than a fifth are tested
        on: the smaller data sets have too few. Not where the tuned numbers were searched: there
        the search's test queries must be the study's.
    """

    name: str
    seen: tuple[str, ...]
    collections: Mapping[str, str]
    unseen_validation: tuple[str, ...] = ()
    unseen_test: tuple[str, ...] = ()
    splits_by_seed: bool = True

    def data(self, encoder: str, seed: int) -> DataConfig:
        """As the configuration of a training names it."""
        split = {"split_seed": seed} if self.splits_by_seed else {}
        return DataConfig(
            **split,
            seen=self.seen,
            unseen_validation=self.unseen_validation,
            unseen_test=self.unseen_test,
            encoder=encoder,
        )


def _chapters(*numbers: int) -> tuple[str, ...]:
    return tuple(f"icd10:{number}" for number in numbers)


SEEN, UNSEEN = "icd10_seen", "icd10_unseen"
ICD10 = Dataset(
    "icd10",
    _chapters(1, 2, 4, 5, 9, 11, 12, 14, 15, 17, 18, 21),
    {"test": SEEN, "unseen_test": UNSEEN},
    unseen_validation=_chapters(7, 8),
    unseen_test=_chapters(3, 6, 10, 16),
    splits_by_seed=False,
)
"""What the tuned numbers were searched on: its validation queries and chapters."""
PACKAGED = (
    ICD10,
    Dataset("gpe", tuple(f"gpe:{topic}" for topic in GPE_TOPICS), {"test": "gpe"}),
    Dataset("zaragoza", ("zaragoza:all",), {"test": "zaragoza"}),
)
NAMES = (*(dataset.name for dataset in PACKAGED), *BEIR_FOLDERS)


@dataclass(frozen=True)
class Chosen:
    """The data sets of a study. left_out: name -> why it is not among them."""

    datasets: tuple[Dataset, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def choose_datasets(beir: Path | None, names: Sequence[str] = ()) -> Chosen:
    """The data sets that are there, of those named; of all if none is.

    names: of data sets, or of their collections.
    Raises: ConfigError for a name that is none, or where nothing is left.
    """
    known = {one: dataset.name for dataset in PACKAGED for one in dataset.collections.values()}
    known |= {name: name for name in NAMES}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            [f"`{one}` is no data set. Known: {', '.join(NAMES)}." for one in unknown]
        )
    wanted = {known[name] for name in names} or set(NAMES)
    there, left_out = list[Dataset](), dict[str, str]()
    for dataset in (*PACKAGED, *(_beir(beir, name) for name in BEIR_FOLDERS)):
        if dataset.name not in wanted:
            continue
        if missing := _missing(dataset, beir):
            left_out[dataset.name] = missing
        else:
            there.append(dataset)
    if not there:
        raise ConfigError([f"{name} is not there: {why}" for name, why in left_out.items()])
    return Chosen(tuple(there), left_out)


def _beir(folder: Path | None, name: str) -> Dataset:
    return Dataset(name, (f"beir:{(folder or Path()) / name}",), {"test": name})


def _missing(dataset: Dataset, beir: Path | None) -> str:
    """Why a data set cannot be had, or nothing; what is there and wrong is an error later."""
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
    """One row of the tables: a model and all of its settings except data and seed."""

    model: str
    config: ExperimentConfig


def setups(
    tuned: ExperimentConfig, tuned_twin: ExperimentConfig, overrides: Mapping[str, Any]
) -> dict[str, Setup]:
    """Every row of the study by name, the baselines first.

    `default` has the numbers that configurations start from, `tuned` and `tuned_twin` those of a
    search each, for a hybrid and for the MLP twin. The controls have the tuned hybrid's numbers,
    and so the same epochs and patience, and MLPs of as many outputs. overrides: for all of them
    alike.

    Raises: ConfigError for an override of what the study decides, or tuned models that are others.
    """
    if decided := [key for key in overrides if key.split(".")[0] in _DECIDED]:
        raise ConfigError(
            [f"`{key}` cannot be set: {_DECIDED[key.split('.')[0]]}." for key in decided]
        )
    untuned = override(ExperimentConfig(), {**_ENGINE, **overrides})
    tuned = override(tuned, {**_ENGINE, **overrides})
    tuned_twin = override(tuned_twin, {**_ENGINE, **overrides})
    for name, config, models in ((TUNED, tuned, HYBRIDS), (TUNED_TWIN, tuned_twin, (TWIN,))):
        if config.model not in models:
            raise ConfigError(
                f"`model` of `{name}` is '{config.model}', but must be {' or '.join(models)}."
            )
    controls = [model for model in MODELS if model not in (tuned.model, *FIXED)]
    return {
        **{model: Setup(model, override(untuned, {"model": COSINE})) for model in FIXED},
        DEFAULT: Setup(untuned.model, untuned),
        TUNED: Setup(tuned.model, tuned),
        TUNED_TWIN: Setup(tuned_twin.model, tuned_twin),
        **{model: Setup(model, as_model(tuned, model)) for model in controls},
    }


def read_tuned(path: Path) -> ExperimentConfig:
    """Read a configuration of nested sections, dotted keys, or both; data and seed are the study's.

    Raises: ConfigError with every mistake and its line.
    """
    source = load_yaml(path)
    values, places = dict[str, Any](), dict[str, str]()
    for location, value in _leaves(source.values, ()):
        key = ".".join(location)
        if key.split(".")[0] not in ("data", "seed"):
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
    """One training of the study, and what its result is known by.

    name: of the row.  config: of the training, its data and seed among it.
    """

    dataset: str
    name: str
    model: str
    config: ExperimentConfig

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def place(self) -> Path:
        """Where its result lies below the study's folder."""
        return Path(self.dataset) / self.name / f"{self.seed}.json"


def tasks(
    datasets: Sequence[Dataset], rows: Mapping[str, Setup], seeds: Sequence[int], encoder: str
) -> list[Task]:
    """Every training, split by split, since a worker keeps the data that it has prepared."""
    return [
        Task(
            dataset.name,
            name,
            setup.model,
            setup.config.model_copy(update={"data": dataset.data(encoder, seed), "seed": seed}),
        )
        for dataset in datasets
        for seed in seeds
        for name, setup in rows.items()
        if name not in FIXED or dataset.splits_by_seed or seed == seeds[0]
    ]
