"""What a study holds of earlier sessions, and what is left to do.

An attempt at a configuration that was cut short (by Ctrl-C, a budget, a lost
worker, a killed driver) is FAIL, since Optuna ends a trial only once; another
trial with the same parameters continues from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from tuning.records import (
    CUT_SHORT,
    EARLIER,
    FAILURE,
    INTERRUPTED,
    ORIGIN,
    UNSCHEDULED_EPOCH,
    WORKER_LOST,
)
from tuning.space import Space
from tuning.study.attributes import _INHERITED, CONTINUES, CURVE, START_POINT, WARM_START

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def keep_value(trial: optuna.Trial, epoch: int, value: float) -> None:
    """Keep a trial's objective after an epoch.

    Optuna has intermediate values in studies of one objective only; in others they
    stand beside the trial.
    """
    if len(trial.study.directions) == 1:
        trial.report(value, epoch)
    else:
        known = trial.user_attrs.get(CURVE, {})
        trial.set_user_attr(CURVE, {**known, str(epoch): value})


def curve(trial: FrozenTrial) -> dict[int, float]:
    """Epoch -> what a trial was compared by, in studies of one objective and of two.

    The best objective so far; in a population, that of the epoch: see `records.compared`.
    """
    beside = trial.user_attrs.get(CURVE, {})
    return dict(trial.intermediate_values) or {int(e): float(v) for e, v in beside.items()}


def best_so_far(trial: FrozenTrial) -> dict[int, float]:
    """Epoch -> the best objective of a trial until then, in every study."""
    values = curve(trial)
    epochs = sorted(values)
    return dict(zip(epochs, accumulate((values[e] for e in epochs), max), strict=True))


def scheduled_values(trial: FrozenTrial) -> dict[int, float]:
    """`curve` as far as the scheduler has decided on it.

    Where a trial was stopped at a report by anything but the scheduler, nobody decided on that
    epoch: it is decided on when the next attempt reports it.
    """
    if trial.state in (TrialState.PRUNED, TrialState.COMPLETE):
        return curve(trial)
    unjudged = trial.user_attrs.get(UNSCHEDULED_EPOCH)
    return {epoch: value for epoch, value in curve(trial).items() if epoch != unjudged}


def exclude_warm_start(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials of a study that are its search's, without those that came in from others."""
    return [trial for trial in trials if WARM_START not in trial.user_attrs]


def is_cut_short(trial: FrozenTrial) -> bool:
    """Whether a trial ended for a reason that is not its configuration's."""
    reason = str(trial.user_attrs.get(FAILURE, ""))
    return trial.state == TrialState.FAIL and reason.startswith(CUT_SHORT)


def close_running(study: optuna.Study, why: str) -> int:
    """Tell the study of trials that nobody told of: none stays RUNNING. Returns how many."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        reason = f"{INTERRUPTED}: {why}"
        optuna.Trial(study, trial._trial_id).set_user_attr(FAILURE, reason)
        study.tell(trial.number, state=TrialState.FAIL)
    return len(running)


def superseded(trials: Iterable[FrozenTrial]) -> set[int]:
    """Numbers of attempts that another trial continues."""
    return {t.user_attrs[CONTINUES] for t in trials if CONTINUES in t.user_attrs}


def superseded_ancestors(trials: Iterable[FrozenTrial], by: Iterable[FrozenTrial]) -> set[int]:
    """Numbers of attempts, among some trials, that some of them continue, also by way of others."""
    before = {t.number: t.user_attrs[CONTINUES] for t in trials if CONTINUES in t.user_attrs}
    found: set[int] = set()
    for trial in by:
        number = trial.number
        while (number := before.get(number, -1)) >= 0:
            found.add(number)
    return found


def attempts(trials: Sequence[FrozenTrial], number: int) -> list[int]:
    """The attempts at a trial's configuration, the latest first, down to the first.

    trials: all of the study, by number.
    """
    chain = [number]
    while (before := trials[chain[-1]].user_attrs.get(CONTINUES)) is not None:
        chain.append(before)
    return chain


def origins(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """Number -> configuration: the number of the first attempt at it."""
    found: dict[int, int] = {}
    for trial in trials:  # an attempt stands after the one that it continues
        found[trial.number] = found.get(trial.user_attrs.get(CONTINUES, -1), trial.number)
    return found


def attempt_info(trials: Sequence[FrozenTrial], number: int) -> dict[str, Any]:
    """What a trial has to know of the attempts before it, as keys of its parameters."""
    chain = attempts(trials, number)
    return {ORIGIN: chain[-1], EARLIER: chain[1:]}


def enqueue_missing(study: optuna.Study, space: Space) -> None:
    """Queue the space's start points, and every attempt that was cut short, each once.

    Safe to be called again after a death in the middle of it.
    """
    trials = study.get_trials(deepcopy=False)
    started = {trial.user_attrs.get(START_POINT) for trial in trials}
    for index, point in enumerate(space.start_points()):
        if index not in started:
            study.enqueue_trial(point, user_attrs={START_POINT: index})
    continued = superseded(trials)
    for trial in trials:
        if is_cut_short(trial) and trial.number not in continued:
            enqueue_next_attempt(study, trial)


def enqueue_next_attempt(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial that continues one that was cut short."""
    known = trial.user_attrs
    attributes = {CONTINUES: trial.number, **{k: known[k] for k in _INHERITED if k in known}}
    # Killed before it was given all of them, it had been given what was queued.
    queued = trial.system_attrs.get("fixed_params", {})
    study.enqueue_trial({**queued, **trial.params}, user_attrs=attributes)


def times_lost(trials: Sequence[FrozenTrial], number: int) -> int:
    """How many workers in a row a trial's configuration has lost, this attempt's included."""
    chain = (trials[one].user_attrs.get(FAILURE, "") for one in attempts(trials, number))
    return sum(1 for _ in takewhile(lambda reason: reason.startswith(WORKER_LOST), chain))


def finished_trials(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Trials of a search that are over for good: what its budget of trials counts."""
    return exclude_warm_start(_over(trials))


def rung_values(trials: Sequence[FrozenTrial]) -> dict[int, dict[int, float]]:
    """Configuration -> epoch -> objective of what a scheduler compares with.

    Also of earlier runs, and of attempts that were cut short: what was decided about them
    is not decided again when another attempt reports the same epochs.
    trials: all of the study, by number.
    """
    first, found = origins(trials), dict[int, dict[int, float]]()
    for trial in trials:
        if trial.state.is_finished() and (values := scheduled_values(trial)):
            found.setdefault(first[trial.number], {}).update(values)
    return found


def _over(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state.is_finished() and not is_cut_short(t)]
