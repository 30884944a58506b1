"""Retries of calls to a study that is locked or whose server is unreachable."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tuning.records import Clock

log = logging.getLogger("tuning")

T = TypeVar("T")
_PAUSE = 0.25  # seconds between two attempts
_LONG = 1.0  # seconds of one call that are worth a warning
# In the names of system attributes in which Optuna's CMA-ES samplers keep a pickle
# (`cma:optimizer:0`, `sepcma:...`, `cmawm:...`), and execute it when they read it.
_PICKLED = ":optimizer"

Passes = Callable[[Exception], bool]


class RetryingStorage:
    """A storage of Optuna's whose every call is tried again while what keeps it from work may pass.

    passes: whether an error is worth waiting over.  seconds: how long at most; after
    that every call fails at once, so that what a search does at its end waits for nothing.

    It has all methods of what it wraps, which is why it does not spell them out: only
    to tell a trial's end twice would be another thing than to tell it once.

    System attributes that hold a pickle are removed from what is read: a study may come from
    anybody, and a pickle runs code.
    """

    def __init__(
        self,
        storage: BaseStorage,
        passes: Passes,
        seconds: float,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage, self._passes, self._seconds = storage, passes, seconds
        self._clock, self._sleep = clock, sleep
        self._given_up: Exception | None = None
        self.waited = 0.0
        """Seconds spent on waiting so far."""
        self._n_changes = 0  # of trials, by this process
        self._known: tuple[int, int, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._storage, name)
        if not callable(attribute):
            return attribute
        changes_trials = not name.startswith("get_") and "_study_" not in name

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return without_pickles(self._patiently(lambda: attribute(*args, **kwargs)))
            finally:
                self._n_changes += changes_trials

        return call

    def unchanged(self, study_id: int, read: Callable[[], T]) -> T:
        """Return what was read from the trials of a study, again only if they have changed.

        Changes are those that this process has made: a search has its study to itself.

        Args:
            study_id: Identifier of the study.
            read: Reads the trials.
        """
        n_changes = self._n_changes  # before they are read: another thread may change them
        if self._known is not None and self._known[:2] == (study_id, n_changes):
            return cast(T, self._known[2])
        value = read()
        self._known = study_id, n_changes, value
        return value

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state, once: of a lost attempt it is asked whether it had arrived."""
        attempts = 0

        def tell() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return self._storage.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if attempts > 1 and self._storage.get_trial(trial_id).state == state:
                    return True
                raise

        try:
            return self._patiently(tell)
        finally:
            self._n_changes += 1

    def _patiently(self, call: Callable[[], T]) -> T:
        if self._given_up is not None:
            raise self._given_up
        started = self._clock()
        try:
            return retry_call(call, self._passes, self._seconds, self._clock, self._sleep)
        except Exception as error:
            if self._passes(error):
                self._given_up = error
            raise
        finally:
            if (spent := self._clock() - started) >= _PAUSE:
                self.waited += spent
            if spent >= _LONG:
                log.warning("The storage of the study took %.1f s to answer", spent)


def without_pickles(answer: Any) -> Any:
    """Remove system attributes that hold a pickle from what a storage has answered.

    Args:
        answer: Trials are copied where they have such an attribute, since storages share them.
    """
    if isinstance(answer, FrozenTrial):
        if not any(_PICKLED in key for key in answer.system_attrs):
            return answer
        answer = copy.copy(answer)
        answer.system_attrs = without_pickles(answer.system_attrs)
    elif isinstance(answer, dict):
        return {key: value for key, value in answer.items() if _PICKLED not in str(key)}
    elif isinstance(answer, list):
        return [without_pickles(trial) for trial in answer]
    return answer


def waited(study: optuna.Study) -> float:
    """Seconds that a study was waited for so far."""
    storage: object = study._storage
    return storage.waited if isinstance(storage, RetryingStorage) else 0.0


def retry_call(
    call: Callable[[], T],
    passes: Passes,
    seconds: float,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call again and again while it fails for what may pass, for so many seconds at most."""
    until = clock() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if not passes(error) or clock() >= until:
                raise
        sleep(_PAUSE)
