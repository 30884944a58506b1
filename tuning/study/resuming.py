"""Changes to a study at the start and the end of a session, each safe to be made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from tuning.records import Failure, FailureKind
from tuning.space import Space
from tuning.study import attributes
from tuning.study.trials import is_cut_short, parameters
from tuning.study.view import StudyView

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def close_running(study: optuna.Study, why: str) -> int:
    """End every trial that is still RUNNING as interrupted.

    Args:
        study: Study of a session that is over, or was killed.
        why: Reason of the interruption.

    Returns:
        Number of trials that were ended.
    """
    running = StudyView.of(study).running()
    for trial in running:
        failure = Failure(FailureKind.INTERRUPTED, why)
        attributes.write_failure(optuna.Trial(study, trial._trial_id), failure)
        study.tell(trial.number, state=TrialState.FAIL)
    return len(running)


def enqueue_missing(study: optuna.Study, space: Space) -> None:
    """Queue the space's start points, and a next attempt at every trial that was cut short.

    Each is queued once, also where a session was killed in the middle of it.
    """
    view = StudyView.of(study)
    started = {attributes.start_point(trial) for trial in view}
    for index, point in enumerate(space.start_points()):
        if index not in started:
            study.enqueue_trial(point, user_attrs={attributes.START_POINT: index})
    continued = view.superseded()
    for trial in view:
        if is_cut_short(trial) and trial.number not in continued:
            enqueue_next_attempt(study, trial)


def enqueue_next_attempt(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial that continues a trial that was cut short."""
    # A trial that was killed early has not sampled all of its queued parameters.
    study.enqueue_trial(parameters(trial), user_attrs=attributes.of_next_attempt(trial))
