"""Best epoch of a trial, loaded from its files and compared with its study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.errors import BundleError
from quantum_rerank.evaluation.measurements import TrainingSummary
from quantum_rerank.similarity import MODELS, Head
from quantum_rerank.training.checkpoint import OF_THE_MACHINE
from quantum_rerank.training.validation import Validation
from tuning.records import TrialOutcome
from tuning.study import attributes
from tuning.study.run_folder import (
    read_record,
    recorded_places,
    recorded_run,
    recorded_space,
)
from tuning.study.trial_files import BEST_EPOCH, TrialFiles, origin_record
from tuning.study.trials import STATE_NAMES, best_so_far, parameters

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class TrainedTrial:
    """Best epoch of a trial, and the summary of its training.

    Attributes:
        number: Number of the trial.
        params: Parameters of the trial.
        state: Name of its state.
        config: Its configuration.
        head: Model with the weights of the best epoch.
        validation: Validation of the best epoch.
        epoch: Best epoch.
        training_summary: Objectives, seconds and memory of the training.
    """

    number: int
    params: dict[str, Any]
    state: str
    config: ExperimentConfig
    head: Head
    validation: Validation
    epoch: int
    training_summary: TrainingSummary

    @property
    def full_seconds(self) -> float:
        """Return the expected seconds of a training that no rule stops, 60 if unknown."""
        summary = self.training_summary
        if summary.seconds is None:
            return 60.0
        if self.state == TrialOutcome.PRUNED and summary.objectives:
            return summary.seconds * self.config.training.max_epochs / len(summary.objectives)
        return summary.seconds


def load_trial(run_folder: Path, trial: FrozenTrial) -> TrainedTrial:
    """Load the best epoch of a trial.

    A worker that was killed may have written an epoch that it could not report any more. The
    study does not have it, so the version before it is loaded.

    Args:
        run_folder: Folder of the run.
        trial: Trial in the run's study.

    Raises:
        BundleError: There are no weights, or they are damaged, or of another run, trial,
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
        raise problems[0]  # of the newest version
    raise BundleError(
        f"There are no weights of trial {trial.number} in {run_folder}: "
        f"`{files.shown(trial.number, BEST_EPOCH)}` is gone. Put it back, or export another trial "
        "with --trial N."
    )


def _loaded(
    content: bytes, trial: FrozenTrial, record: Mapping[str, Any], name: str
) -> TrainedTrial:
    from quantum_rerank.training.best_model import maker_of, read_best_model

    configuration = maker_of(content, name).get("configuration", -1)
    if attributes.continues(trial) is None:  # the trial is the first attempt itself
        configuration = trial.number
    maker = origin_record(recorded_run(record), trial.number, configuration)
    head, validation, config, epoch = read_best_model(content, name, maker)
    ordinal = attributes.ordinal(trial, configuration)
    expected = recorded_space(record).config_for(parameters(trial), ordinal)
    if difference := _difference(config, expected):
        raise BundleError(
            f"{name} is of another configuration than the study has for the trial: {difference}. "
            "Put back the trial's own file, or the study that belongs to it."
        )
    if epoch != (best := attributes.best_epoch(trial)):
        raise BundleError(
            f"{name} is of epoch {epoch}, but the trial's best epoch is {best} in the study. "
            "Put back the trial's own file."
        )
    return TrainedTrial(
        number=trial.number,
        params=dict(trial.params),
        state=STATE_NAMES[trial.state],
        config=config,
        head=head,
        validation=validation,
        epoch=epoch,
        training_summary=_training_summary(trial, config, epoch),
    )


def _difference(config: ExperimentConfig, expected: ExperimentConfig) -> str:
    """Return the first key in which two configurations differ, in words; empty if none does."""
    of_file, of_study = flat(config), flat(expected)
    for key in sorted({*of_file, *of_study} - {*OF_THE_MACHINE}):
        if of_file.get(key) != of_study.get(key):
            return (
                f"`{key}` is {of_file.get(key)} in the file, but {of_study.get(key)} in the study"
            )
    return ""


def _training_summary(
    trial: FrozenTrial, config: ExperimentConfig, best_epoch: int
) -> TrainingSummary:
    peak_mb = attributes.peak_rss_mb(trial)
    return TrainingSummary(
        best_epoch,
        tuple(best_so_far(trial).values()),
        attributes.seconds(trial),
        peak_mb and peak_mb * 2**20 / 1e9,
        config.training.early_stopping_patience,
        config.training.min_improvement,
        is_closed_form=not MODELS[config.model].is_trainable,
    )
