"""A trial's best epoch, loaded from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.errors import BundleError
from quantum_rerank.similarity import Head
from quantum_rerank.training.checkpoint import OF_THE_MACHINE
from quantum_rerank.training.ranking import Validation
from quantum_rerank.training.targets import Course
from tuning.records import CHECKPOINT, PEAK_RSS_MB, SECONDS
from tuning.study.attributes import CONTINUES
from tuning.study.history import best_so_far
from tuning.study.lineage import given
from tuning.study.run_folder import read_record, recorded_places, recorded_run, recorded_space
from tuning.study.trial_files import BEST_EPOCH, TrialFiles
from tuning.workers.trial_context import made_by

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class TrainedTrial:
    """A trial's best epoch, loaded, and how its training went."""

    number: int
    params: dict[str, Any]
    state: str
    config: ExperimentConfig
    head: Head
    validation: Validation
    epoch: int
    course: Course


def load_trial(run_folder: Path, trial: optuna.trial.FrozenTrial) -> TrainedTrial:
    """Load the best epoch of a trial.

    A worker that was killed may have written an epoch that it could not report any more. The study
    does not know that one, and the version before it is loaded.

    Raises: BundleError if there are no weights, or they are damaged, or of another run, trial,
        configuration or epoch than the study has.
    """
    name = f"the file of trial {trial.number} in {run_folder}"
    files = TrialFiles(recorded_places(run_folder).root(run_folder))
    record, problems = read_record(run_folder), list[BundleError]()
    for content in files.versions(trial.number, BEST_EPOCH):
        try:
            return _loaded(content, trial, record, name)
        except BundleError as error:
            problems.append(error)
    if problems:
        raise problems[0]  # of the newest
    raise BundleError(
        f"There are no weights of trial {trial.number} in {run_folder}: "
        f"`{files.shown(trial.number, BEST_EPOCH)}` is gone. Put it back, or export another trial "
        "with --trial N."
    )


def _loaded(
    content: bytes, trial: optuna.trial.FrozenTrial, record: Mapping[str, Any], name: str
) -> TrainedTrial:
    from quantum_rerank.training.best_model import maker_of, read_best_model

    configuration = maker_of(content, name).get("configuration", -1)
    if CONTINUES not in trial.user_attrs:  # it is the first attempt itself
        configuration = trial.number
    maker = made_by(recorded_run(record), trial.number, configuration)
    head, validation, config, epoch = read_best_model(content, name, maker)
    expected = recorded_space(record).config_for(given(trial), configuration)
    if other := _different(config, expected):
        raise BundleError(
            f"{name} is of another configuration than the study has for the trial: {other}. "
            "Put back the trial's own file, or the study that belongs to it."
        )
    if epoch != (best := trial.user_attrs.get(CHECKPOINT)):
        raise BundleError(
            f"{name} is of epoch {epoch}, but the trial's best epoch is {best} in the study. "
            "Put back the trial's own file."
        )
    state, params, course = (
        trial.state.name.lower(),
        dict(trial.params),
        _course(trial, config, epoch),
    )
    return TrainedTrial(trial.number, params, state, config, head, validation, epoch, course)


def _different(config: ExperimentConfig, expected: ExperimentConfig) -> str:
    """The first key in which two configurations differ, in words; empty if they are the same."""
    there, here = flat(config), flat(expected)
    for key in sorted({*there, *here} - {*OF_THE_MACHINE}):
        if there.get(key) != here.get(key):
            return f"`{key}` is {there.get(key)} in the file, but {here.get(key)} in the study"
    return ""


def _course(trial: optuna.trial.FrozenTrial, config: ExperimentConfig, best_epoch: int) -> Course:
    peak_mb = trial.user_attrs.get(PEAK_RSS_MB)
    return Course(
        best_epoch,
        tuple(best_so_far(trial).values()),
        trial.user_attrs.get(SECONDS),
        peak_mb and peak_mb * 2**20 / 1e9,
        config.training.early_stopping_patience,
        config.training.min_improvement,
    )
