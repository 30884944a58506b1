"""Facts of one trial, as its study holds it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from tuning.records import TrialOutcome
from tuning.study import attributes

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STATE_NAMES = {
    TrialState.COMPLETE: str(TrialOutcome.COMPLETE),
    TrialState.PRUNED: str(TrialOutcome.PRUNED),
    TrialState.FAIL: str(TrialOutcome.FAILED),
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
"""Optuna's states by the names under which they are shown."""

OPTUNA_STATES = {
    TrialOutcome.COMPLETE: TrialState.COMPLETE,
    TrialOutcome.PRUNED: TrialState.PRUNED,
    TrialOutcome.FAILED: TrialState.FAIL,
}


def keep_value(trial: optuna.Trial, epoch: int, value: float) -> None:
    """Write the objective of a trial after an epoch.

    Optuna has intermediate values in studies of one objective only; in others they are user
    attributes.
    """
    if len(trial.study.directions) == 1:
        trial.report(value, epoch)
        return
    values = {**attributes.epoch_values(trial), epoch: value}
    for key, record in attributes.of_epoch_values(values).items():
        trial.set_user_attr(key, record)


def curve(trial: FrozenTrial) -> dict[int, float]:
    """Return epoch -> value by which a trial was compared; see `records.comparison_value`."""
    return dict(trial.intermediate_values) or attributes.epoch_values(trial)


def highest(trial: FrozenTrial) -> float | None:
    """Return the highest value of a trial's curve; None before its first epoch."""
    return max(curve(trial).values(), default=None)


def last_epoch(trial: FrozenTrial) -> int:
    """Return the last epoch that a trial has reported; 0 before the first."""
    return max(curve(trial), default=0)


def best_so_far(trial: FrozenTrial) -> dict[int, float]:
    """Return epoch -> highest objective of a trial up to that epoch."""
    values = curve(trial)
    epochs = sorted(values)
    return dict(zip(epochs, accumulate((values[e] for e in epochs), max), strict=True))


def scheduled_values(trial: FrozenTrial) -> dict[int, float]:
    """Return the part of a trial's curve that the scheduler has decided on.

    Where a trial was stopped at a report by anything but the scheduler, that epoch is decided
    on when the next attempt reports it.
    """
    if trial.state in (TrialState.PRUNED, TrialState.COMPLETE):
        return curve(trial)
    undecided = attributes.unscheduled_epoch(trial)
    return {epoch: value for epoch, value in curve(trial).items() if epoch != undecided}


def is_cut_short(trial: FrozenTrial) -> bool:
    """Return whether something other than its configuration ended a trial."""
    failure = attributes.failure(trial)
    return trial.state == TrialState.FAIL and failure is not None and failure.kind.is_cut_short


def exclude_warm_start(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that were trained in their own search, in order."""
    return [trial for trial in trials if attributes.warm_start(trial) is None]


def parameters(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters of a trial, including those that were queued but not yet sampled."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
