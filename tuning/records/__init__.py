"""Types, keys and states that all layers of the search share."""

from tuning.records.clock import LONGEST_TURN_SECONDS, AttendedClock, Clock
from tuning.records.keys import (
    CHECKPOINT,
    COST,
    EPOCH,
    EPOCH_OBJECTIVE,
    FAILURE,
    FINAL,
    OBJECTIVE,
    PEAK_RSS_MB,
    RESTARTED,
    SECONDS,
    TRAINING_SECONDS,
    UNSCHEDULED_EPOCH,
    WARM_UP_SAVED,
    WARNING,
    comparison_value,
)
from tuning.records.listeners import Listener, Listeners, TrainingsState, TrialEnd
from tuning.records.metadata import METADATA, Donor, TrialMetadata, metadata_of, parameters_of
from tuning.records.states import Failure, FailureKind, StopKind, StopReason, TrialOutcome

__all__ = [
    "CHECKPOINT",
    "COST",
    "EPOCH",
    "EPOCH_OBJECTIVE",
    "FAILURE",
    "FINAL",
    "LONGEST_TURN_SECONDS",
    "METADATA",
    "OBJECTIVE",
    "PEAK_RSS_MB",
    "RESTARTED",
    "SECONDS",
    "TRAINING_SECONDS",
    "UNSCHEDULED_EPOCH",
    "WARM_UP_SAVED",
    "WARNING",
    "AttendedClock",
    "Clock",
    "Donor",
    "Failure",
    "FailureKind",
    "Listener",
    "Listeners",
    "StopKind",
    "StopReason",
    "TrainingsState",
    "TrialEnd",
    "TrialMetadata",
    "TrialOutcome",
    "comparison_value",
    "metadata_of",
    "parameters_of",
]
