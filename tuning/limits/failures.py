"""Why trials fail: a reason in one line, its kind first, and when the same one ends a search.

oom, timeout, nan, saturated, error: the configuration's own.
interrupted, worker lost, storage: not its fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DivergedError, FilesError, SaturatedError
from tuning.limits.concurrency import GB
from tuning.limits.stop_signal import StopSignal
from tuning.records import INTERRUPTED, STORAGE, WORKER_LOST, TrialEnd

DIAGNOSIS = "the same failure of"  # how the reason begins where failures end a search
NOTHING_TRAINED = "a lack of trained trials"  # how it begins where no trial has left weights
_REASONS_SHOWN = 3


def failure_reason(error: Exception) -> str:
    """One line on why a trial failed, its kind first.

    >>> failure_reason(DivergedError("The loss became nan in a batch."))
    'nan: The loss became nan in a batch.'
    """
    if isinstance(error, DivergedError):
        return f"nan: {error}"
    if isinstance(error, SaturatedError):
        return f"saturated: {error}"
    if isinstance(error, MemoryError):
        return f"oom: {str(error) or 'an allocation was refused'}"
    if isinstance(error, FilesError):
        return f"{STORAGE}: {error}"
    return f"error: {type(error).__name__}: {error}"


def memory_refusal(least: int, memory_gb: float) -> str:
    """The reason of a configuration that is not started, or nothing if it may fit.

    >>> memory_refusal(9 * 2**30, 8)
    'oom: not started, since it needs at least 9.00 GB, budget 8 GB'
    """
    if least <= memory_gb * GB:
        return ""
    needed = f"it needs at least {least / GB:.2f} GB"
    return f"oom: not started, since {needed}, budget {memory_gb:g} GB"


def memory_excess(used: int, memory_gb: float) -> str:
    """The reason of a trial that was above its memory budget.

    >>> memory_excess(9 * 2**30, 8)
    'oom: 9.00 GB used, budget 8 GB'
    """
    return f"oom: {used / GB:.2f} GB used, budget {memory_gb:g} GB"


def without_weights(reasons: Mapping[int, str], n_trials: int) -> str:
    """Say in a few words why no trial of a search has left weights.

    Args:
        reasons: Number of a trial -> why it failed or was cut short.
        n_trials: How many trials the search had.

    >>> without_weights({0: "nan: no loss", 2: "nan: no loss", 1: "oom: 9 GB used"}, 3)
    '3 of 3 trials ended without weights (2 nan: no loss; 1 oom: 9 GB used)'
    """
    if not n_trials:
        return "no trial was started"
    counts = Counter(reasons.values()).most_common()
    shown = [f"{count} {reason}" for reason, count in counts[:_REASONS_SHOWN]]
    if len(counts) > _REASONS_SHOWN:
        shown.append(f"{len(counts) - _REASONS_SHOWN} other reasons")
    why = f" ({'; '.join(shown)})" if shown else ""
    return f"{n_trials} of {n_trials} trials ended without weights{why}"


class FailureStreak:
    """Ends a search once trials fail for the same reason one after another.

    A listener; what is called the same is the first word of a reason: oom, nan, error.
    Where a trial's files cannot be written, those of the next cannot either: one is enough.
    Workers that are lost are in a row while nobody reports an epoch, and those that a machine
    takes with it are lost once.
    """

    def __init__(self, limit: int, ending: StopSignal) -> None:
        self._limit, self._ending = limit, ending
        self._kind, self._length = "", 0
        self._since_lost: set[int] = set()  # trials that started after the last worker that counted

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Remember who was not there yet when the last worker was lost."""
        self._since_lost.add(number)

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Workers can train here: those that were lost had bad luck."""
        if self._kind == WORKER_LOST:
            self._kind = ""

    def trial_ended(self, end: TrialEnd) -> None:
        kind = end.reason.partition(":")[0] if end.state == "failed" else ""
        if kind == STORAGE:
            self._ending.stop(end.reason)
        if kind in (INTERRUPTED, STORAGE):
            return
        if kind == WORKER_LOST:
            if self._kind == WORKER_LOST and end.number not in self._since_lost:
                return
            self._since_lost.clear()
        self._length = self._length + 1 if kind and kind == self._kind else 1
        self._kind = kind
        if kind and self._length >= self._limit:
            self._ending.stop(f"{DIAGNOSIS} {self._length} trials in a row: {end.reason}")
