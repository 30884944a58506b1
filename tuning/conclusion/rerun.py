"""Second training of one trial of a run, with the same configuration, seed and data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import OutputError
from quantum_rerank.plain_text import pasted
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_descendant
from tuning.conclusion.confirmation import Ancestors
from tuning.records import Donor, comparison_value
from tuning.space import Space
from tuning.study import attributes
from tuning.study.reading import read_trials
from tuning.study.run_folder import read_record, recorded_space, refuse_other_data
from tuning.study.trials import curve, is_cut_short, parameters
from tuning.study.view import StudyView


@dataclass(frozen=True)
class EpochComparison:
    """Objective of an epoch that was trained again, beside the one in the run.

    Attributes:
        epoch: Epoch.
        value: Objective of the second training.
        recorded: Objective in the run; None where the run has no such epoch.
    """

    epoch: int
    value: float
    recorded: float | None

    @property
    def differs(self) -> bool:
        """True if the two objectives are not the same."""
        return self.recorded is not None and not math.isclose(
            self.value, self.recorded, rel_tol=0.0, abs_tol=1e-12
        )


@dataclass(frozen=True)
class Rerun:
    """Trial of a run that can be trained again.

    Attributes:
        folder: Folder of the run.
        space: Space of the run.
        trial: Trial to train again.
        ordinal: Number of its configuration.
        descent: Trainings that its weights come from, which are done again before it.
        ancestors: Configurations of these trainings, each with its last epoch.
    """

    folder: Path
    space: Space
    trial: FrozenTrial
    ordinal: int
    descent: list[Donor]
    ancestors: Ancestors

    def epochs(self) -> Iterator[EpochComparison]:
        """Train the trial on one thread, and yield each epoch beside the run's.

        Raises:
            DataError: The data have changed since the run.
        """
        import torch

        data = self.space.base.data
        prepared = prepare(data, source_of(data))
        refuse_other_data(read_record(self.folder), prepared, self.folder)
        torch.set_num_threads(1)
        config = self.space.config_for(parameters(self.trial), self.ordinal)
        recorded = curve(self.trial)
        for report in make_descendant(config, self.ancestors, prepared.trial).epochs():
            value = comparison_value(report.metrics, self.space.is_population)
            yield EpochComparison(report.epoch, value, recorded.get(report.epoch))


def load_rerun(folder: Path, number: int) -> Rerun:
    """Load a trial that is to be trained again.

    Args:
        folder: Folder of the run.
        number: Number of the trial.

    Raises:
        OutputError: The run has no such trial, or the trial neither reached an epoch nor failed.
    """
    space = recorded_space(read_record(folder))
    view = StudyView(read_trials(folder))
    if not 0 <= number < len(view):
        raise OutputError(f"`{folder}` has no trial {number}: they go from 0 to {len(view) - 1}.")
    trial = view[number]
    if earlier := attributes.warm_start(trial):
        run, number_there = earlier
        command = pasted("python", "-m", "tuning.search", "--rerun", run, "--trial", number_there)
        raise OutputError(
            f"Trial {number} came in from `{run}`, where it was trained as trial {number_there}. "
            f"Train it again there: `{command}`."
        )
    has_failed = trial.state == TrialState.FAIL and not is_cut_short(trial)
    if not curve(trial) and not has_failed:
        raise OutputError(
            f"Trial {number} of `{folder}` has no epoch that could be compared with: it is queued, "
            "has just begun, or was interrupted before. Name another."
        )
    return Rerun(
        folder=folder,
        space=space,
        trial=trial,
        ordinal=view.ordinal(number),
        descent=view.descent(number),
        ancestors=view.ancestors(space, number),
    )
