"""User attributes of trials and studies: the only module that reads and writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuning.records import (
    CHECKPOINT,
    FAILURE,
    PEAK_RSS_MB,
    RESTARTED,
    SECONDS,
    TRAINING_SECONDS,
    UNSCHEDULED_EPOCH,
    WARM_UP_SAVED,
    WARNING,
    Donor,
    Failure,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# Attributes of a trial.
START_POINT = "start_from"  # index of the point of `start_from` that the trial is
CONTINUES = "continues"  # number of the attempt that this trial continues
CLONES = "clones"  # configuration whose weights a clone starts from ...
AT_EPOCH = "at_epoch"  # ... after this epoch ...
REPLACES = "replaces"  # ... and the stopped trial whose place it takes
CURVE = "objective_by_epoch"  # epoch -> objective in studies of two objectives
WARM_START = "warm_start"  # RUN#NUMBER of the earlier run's trial that was taken over
PROPOSED_BY = "proposed_by"  # RUN#NUMBER of the earlier run's trial whose configuration this is
ORDINAL = "ordinal"  # number of the configuration, where its first attempt has another number
PROPOSED_FROM = "proposed_from"  # source of the sampler `prior`
_INHERITED = (
    START_POINT,
    CLONES,
    AT_EPOCH,
    REPLACES,
    ORDINAL,
    PROPOSED_FROM,
)  # by the next attempt
_MEASURED = (
    PEAK_RSS_MB,
    SECONDS,
    TRAINING_SECONDS,
    CHECKPOINT,
    RESTARTED,
    WARM_UP_SAVED,
    WARNING,
)

# Attributes of a study.
BUDGET = "budget"  # the budget as it was extended
CONFIRMED = "confirmed"  # number -> seed -> objective
SESSION = "session."  # one record per session, numbered


def failure(trial: FrozenTrial) -> Failure | None:
    """Return the reason for which a trial failed or was cut short; None if it did neither."""
    record = trial.user_attrs.get(FAILURE)
    return None if record is None else Failure.from_record(record)


def failures(trials: Iterable[FrozenTrial]) -> dict[int, Failure]:
    """Return number -> failure of the trials that have one."""
    reasons = {trial.number: failure(trial) for trial in trials}
    return {number: reason for number, reason in reasons.items() if reason is not None}


def write_failure(trial: optuna.Trial, reason: Failure) -> None:
    """Write the reason for which a trial failed."""
    trial.set_user_attr(FAILURE, reason.as_record())


def write_measurements(trial: optuna.Trial, metrics: Mapping[str, Any]) -> None:
    """Write the part of a trial's last report that the study keeps: cost, weights, warnings."""
    for key in _MEASURED:
        if key in metrics:
            trial.set_user_attr(key, metrics[key])


def best_epoch(trial: FrozenTrial) -> int:
    """Return the epoch whose weights a trial has left; 0 if it has left none."""
    return int(trial.user_attrs.get(CHECKPOINT) or 0)


def seconds(trial: FrozenTrial) -> float | None:
    """Return the seconds that a trial took; None where it reported none."""
    return trial.user_attrs.get(SECONDS)


def peak_rss_mb(trial: FrozenTrial) -> float | None:
    """Return the peak memory of a trial in MiB; None where it reported none."""
    return trial.user_attrs.get(PEAK_RSS_MB)


def warm_ups_saved(trials: Iterable[FrozenTrial]) -> list[float]:
    """Return the seconds that a shared warm-up saved each trial that started from one."""
    return [t.user_attrs[WARM_UP_SAVED] for t in trials if WARM_UP_SAVED in t.user_attrs]


def start_point(trial: FrozenTrial) -> int | None:
    """Return the index of the point of `start_from` that a trial is; None for any other trial."""
    return trial.user_attrs.get(START_POINT)


def continues(trial: FrozenTrial) -> int | None:
    """Return the number of the attempt that a trial continues; None for a first attempt."""
    return trial.user_attrs.get(CONTINUES)


def ordinal(trial: FrozenTrial, origin: int) -> int:
    """Return the number of a trial's configuration, which its seed follows from.

    Further attempts take numbers of trials, but do not count: a search that was killed and
    resumed has the seeds of one that was not.

    Args:
        trial: Trial of a study.
        origin: Number of the first attempt at its configuration.
    """
    return int(trial.user_attrs.get(ORDINAL, origin))


def write_ordinal(trial: optuna.Trial, number: int) -> None:
    """Write the number of a trial's configuration."""
    trial.set_user_attr(ORDINAL, number)


def replaces(trial: FrozenTrial) -> int | None:
    """Return the number of the stopped trial whose place a clone takes; None for no clone."""
    return trial.user_attrs.get(REPLACES)


def donor(trial: FrozenTrial | optuna.Trial) -> Donor | None:
    """Return the weights that a trial starts from; None if it starts from scratch."""
    attributes = trial.user_attrs
    if CLONES not in attributes or RESTARTED in attributes:
        return None
    return Donor(int(attributes[CLONES]), int(attributes[AT_EPOCH]))


def of_a_clone(weights: Donor, stopped: int) -> dict[str, Any]:
    """Return the attributes of a clone.

    Args:
        weights: Configuration and epoch whose weights it starts from.
        stopped: Number of the trial whose place it takes.
    """
    return {CLONES: weights.configuration, AT_EPOCH: weights.epoch, REPLACES: stopped}


def of_next_attempt(trial: FrozenTrial) -> dict[str, Any]:
    """Return the attributes of an attempt that continues a trial."""
    inherited = {key: trial.user_attrs[key] for key in _INHERITED if key in trial.user_attrs}
    return {CONTINUES: trial.number, **inherited}


def warm_start(trial: FrozenTrial) -> tuple[str, int] | None:
    """Return run and number of the earlier run's trial that a trial is; None for any other."""
    key = trial.user_attrs.get(WARM_START)
    if key is None:
        return None
    run, _, number = str(key).rpartition("#")
    return run, int(number)


def epoch_values(trial: FrozenTrial | optuna.Trial) -> dict[int, float]:
    """Return epoch -> objective, as studies of two objectives keep it."""
    return {int(e): float(v) for e, v in trial.user_attrs.get(CURVE, {}).items()}


def of_epoch_values(values: Mapping[int, float]) -> dict[str, Any]:
    """Return the attributes that hold epoch -> objective in studies of two objectives."""
    return {CURVE: {str(epoch): value for epoch, value in values.items()}}


def unscheduled_epoch(trial: FrozenTrial) -> int | None:
    """Return the epoch at which a trial was stopped; None if it was not stopped."""
    return trial.user_attrs.get(UNSCHEDULED_EPOCH)


def budget_changes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the budget as the last session had it; empty before the first session."""
    return dict(attributes.get(BUDGET, {}))


def write_budget(study: optuna.Study, budget: Mapping[str, Any]) -> None:
    """Write the budget of a session."""
    study.set_user_attr(BUDGET, dict(budget))


def confirmed(study: optuna.Study) -> dict[str, dict[str, float]]:
    """Return trial number -> seed -> objective of the trainings on fresh seeds so far."""
    return dict(study.user_attrs.get(CONFIRMED, {}))


def write_confirmed(study: optuna.Study, objectives: Mapping[str, Mapping[str, float]]) -> None:
    """Write the objectives of the trainings on fresh seeds."""
    study.set_user_attr(CONFIRMED, dict(objectives))


def sessions(attributes: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the records of a study's sessions, in order.

    Each has `started` (UTC), `host`, `pid`, `seconds`, `core_seconds`; and `ended`, the reason,
    unless the session was killed.
    """
    return [dict(attributes[key]) for key in sorted(attributes) if key.startswith(SESSION)]


def write_session(study: optuna.Study, index: int, record: Mapping[str, Any]) -> None:
    """Write the record of a session, the first of which has the index 1."""
    study.set_user_attr(f"{SESSION}{index:04d}", dict(record))
