"""Failures of trials: made from errors and memory, and counted until they end a search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DivergedError, FilesError, SaturatedError
from tuning.limits.concurrency import GIB
from tuning.limits.stop_signal import StopSignal
from tuning.records import Failure, FailureKind, Listener, StopKind, StopReason, TrialEnd

_REASONS_SHOWN = 3


def failure_of(error: Exception) -> Failure:
    """Return the failure that an error in a trial is.

    >>> str(failure_of(DivergedError("The loss became nan in a batch.")))
    'nan: The loss became nan in a batch.'
    """
    if isinstance(error, DivergedError):
        return Failure(FailureKind.NAN, str(error))
    if isinstance(error, SaturatedError):
        return Failure(FailureKind.SATURATED, str(error))
    if isinstance(error, MemoryError):
        return Failure(FailureKind.OOM, str(error) or "an allocation was refused")
    if isinstance(error, FilesError):
        return Failure(FailureKind.STORAGE, str(error))
    return Failure(FailureKind.ERROR, f"{type(error).__name__}: {error}")


def memory_refusal(least: int, memory_gb: float) -> Failure | None:
    """Return the failure of a configuration that needs more than its memory budget.

    Args:
        least: Bytes that the configuration needs at the least.
        memory_gb: Budget, in GiB.

    >>> str(memory_refusal(9 * 2**30, 8))
    'oom: not started, since it needs at least 9.00 GiB, budget 8 GiB'
    """
    if least <= memory_gb * GIB:
        return None
    needed = f"it needs at least {least / GIB:.2f} GiB"
    detail = f"not started, since {needed}, budget {memory_gb:g} GiB"
    return Failure(FailureKind.OOM, detail)


def memory_excess(used: int, memory_gb: float) -> Failure:
    """Return the failure of a trial that used more than its memory budget.

    Args:
        used: Bytes that the trial used.
        memory_gb: Budget, in GiB.

    >>> str(memory_excess(9 * 2**30, 8))
    'oom: 9.00 GiB used, budget 8 GiB'
    """
    return Failure(FailureKind.OOM, f"{used / GIB:.2f} GiB used, budget {memory_gb:g} GiB")


def memory_pressure(available: float) -> Failure:
    """Return the failure of a trial that was ended to relieve the memory of its machine.

    Args:
        available: Bytes that were free.

    >>> str(memory_pressure(2**29))
    'memory pressure: 0.50 GiB of the machine were free; it is continued later'
    """
    detail = f"{available / GIB:.2f} GiB of the machine were free; it is continued later"
    return Failure(FailureKind.MEMORY_PRESSURE, detail)


def without_weights(failures: Collection[Failure], n_trials: int) -> str:
    """Return in a few words why no trial of a search has left weights.

    Args:
        failures: Failures of the trials that have one.
        n_trials: Trials of the search.

    >>> nan, oom = Failure(FailureKind.NAN, "no loss"), Failure(FailureKind.OOM, "9 GiB used")
    >>> without_weights([nan, oom, nan], 3)
    '3 of 3 trials ended without weights (2 nan: no loss; 1 oom: 9 GiB used)'
    """
    if not n_trials:
        return "no trial was started"
    counts = Counter(failures).most_common()
    shown = [f"{count} {failure}" for failure, count in counts[:_REASONS_SHOWN]]
    if len(counts) > _REASONS_SHOWN:
        shown.append(f"{len(counts) - _REASONS_SHOWN} other reasons")
    why = f" ({'; '.join(shown)})" if shown else ""
    return f"{n_trials} of {n_trials} trials ended without weights{why}"


class FailureStreak(Listener):
    """Listener that ends a search once trials fail for the same kind of reason in a row.

    Where the files of one trial cannot be written, the next trial's cannot either: one failure
    of that kind ends the search. Lost workers are in a row while no trial reports an epoch;
    workers that a machine takes with it count as one.

    Args:
        limit: Failures in a row that end the search.
        stop_signal: Signal of the search.
    """

    def __init__(self, limit: int, stop_signal: StopSignal) -> None:
        self._limit, self._stop_signal = limit, stop_signal
        self._kind: FailureKind | None = None
        self._length = 0
        self._since_lost: set[int] = set()  # trials that started after the last lost worker

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Remember that a trial started after the last lost worker."""
        self._since_lost.add(number)

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """End a row of lost workers, since workers can train here."""
        if self._kind == FailureKind.WORKER_LOST:
            self._kind = None

    def trial_ended(self, end: TrialEnd) -> None:
        """Count a failure, and end the search if there were too many."""
        failure = end.failure
        kind = failure.kind if failure else None
        if failure and kind == FailureKind.STORAGE:
            self._stop_signal.stop(StopReason(StopKind.STORAGE, failure.detail))
        if kind in (FailureKind.INTERRUPTED, FailureKind.STORAGE, FailureKind.MEMORY_PRESSURE):
            return
        if kind == FailureKind.WORKER_LOST:
            if self._kind == FailureKind.WORKER_LOST and end.number not in self._since_lost:
                return
            self._since_lost.clear()
        self._length = self._length + 1 if kind and kind == self._kind else 1
        self._kind = kind
        if kind and self._length >= self._limit:
            detail = f"the same failure of {self._length} trials in a row: {failure}"
            self._stop_signal.stop(StopReason(StopKind.SAME_FAILURES, detail))
