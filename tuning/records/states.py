"""Outcomes of trials, kinds of failure, and reasons for which a search ends.

They are written as text only at the borders: the study, the summary, the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


class TrialOutcome(StrEnum):
    """Outcome of a trial that has ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


class FailureKind(StrEnum):
    """Kind of a failure, which says whether the trial's configuration is to blame."""

    OOM = "oom"
    TIMEOUT = "timeout"
    NAN = "nan"
    SATURATED = "saturated"
    ERROR = "error"
    NO_REPORT = "ended without a report"
    INTERRUPTED = "interrupted"
    WORKER_LOST = "worker lost"
    STORAGE = "storage"  # a file of the trial could not be written
    MEMORY_PRESSURE = "memory pressure"  # of other trials or programs on its machine

    @property
    def is_cut_short(self) -> bool:
        """Return whether something other than the configuration ended the trial."""
        return self in (
            FailureKind.INTERRUPTED,
            FailureKind.WORKER_LOST,
            FailureKind.STORAGE,
            FailureKind.MEMORY_PRESSURE,
        )


@dataclass(frozen=True)
class Failure:
    """Reason for which a trial failed.

    >>> str(Failure(FailureKind.OOM, "9.00 GiB used, budget 8 GiB"))
    'oom: 9.00 GiB used, budget 8 GiB'
    """

    kind: FailureKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else str(self.kind)

    def as_record(self) -> dict[str, str]:
        """Return the failure as JSON holds it."""
        return {key: str(value) for key, value in asdict(self).items()}

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> Failure:
        """Return the failure that `as_record` has written.

        Raises:
            ValueError: The record names no kind of failure.
            KeyError: The record is not complete.
        """
        return cls(FailureKind(record["kind"]), record["detail"])


class StopKind(StrEnum):
    """Kind of a reason for which a search ends before its trials are done."""

    INTERRUPT = "Ctrl-C"
    TERMINATED = "SIGTERM"
    HANGUP = "SIGHUP"
    TIME_BUDGET = "time budget"
    CORE_BUDGET = "budget of core-hours"
    SAME_FAILURES = "failures in a row"
    STORAGE = "storage"
    NO_MODEL = "no trained trial"


@dataclass(frozen=True)
class StopReason:
    """Reason for which a search ends before its trials are done.

    >>> str(StopReason(StopKind.INTERRUPT)), str(StopReason(StopKind.TIME_BUDGET, "1 h are over"))
    ('Ctrl-C', '1 h are over')
    """

    kind: StopKind
    detail: str = ""

    def __str__(self) -> str:
        return self.detail or str(self.kind)
