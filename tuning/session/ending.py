"""How a session ends: by signals in order, with every trial told, within its time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType

import optuna

from quantum_rerank.errors import FilesError
from quantum_rerank.interruption import Interrupted, is_urgent
from tuning.limits.stop_signal import StopSignal
from tuning.records import HANGUP, INTERRUPT, TERMINATED
from tuning.reporting.progress import ProgressDisplay
from tuning.reporting.tracking import WandbTracker
from tuning.study.history import close_running
from tuning.study.ledger import Ledger

_REASONS = {
    signal.SIGINT: INTERRUPT,
    signal.SIGTERM: TERMINATED,
    signal.SIGHUP: HANGUP,  # its terminal was closed
}
STOPPING_SECONDS = 10.0  # that trials have to come to their next report when a search is over
_CLOSING_SECONDS = 60.0  # that W&B has to write what is left


def study_or_disk_errors() -> tuple[type[Exception], ...]:
    """What a user mends outside of the search, which can then go on."""
    from sqlalchemy.exc import SQLAlchemyError

    return (OSError, SQLAlchemyError, optuna.exceptions.StorageInternalError, FilesError)


def signals_end(ending: StopSignal, display: ProgressDisplay) -> AbstractContextManager[None]:
    """First Ctrl-C, SIGTERM or SIGHUP: end in order. Second: at the next tick. Third: here and now.

    An exception at any place may leave the study locked; between two ticks it is at rest.
    """
    return _heard(ending, display, "each trial stops after its epoch", n_in_order=2)


def signals_conclude(ending: StopSignal, display: ProgressDisplay) -> AbstractContextManager[None]:
    """First Ctrl-C, SIGTERM or SIGHUP: the best so far is exported. Second: end here and now."""
    return _heard(ending, display, "the best so far is exported", n_in_order=1)


@contextmanager
def _heard(
    ending: StopSignal, display: ProgressDisplay, how: str, n_in_order: int
) -> Iterator[None]:
    """Let signals end a search in order, as many as that; the next interrupts it."""
    before = {number: signal.getsignal(number) for number in _REASONS}
    n_heard = 0

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal n_heard
        if n_heard and not is_urgent(number, is_first=False):
            return
        n_heard += 1
        if n_heard > n_in_order:
            raise Interrupted(number)
        ending.is_at_once = n_heard == 2
        if n_heard == 1:
            ending.stop(_REASONS[signal.Signals(number)])
            display.say(f"Ending: {how}. Ctrl-C again stops now.")

    for number in _REASONS:
        if before[number] != signal.SIG_IGN:  # as SIGHUP is under nohup
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def told_at_the_end(study: optuna.Study, ending: StopSignal, ledger: Ledger) -> Iterator[None]:
    """However a session ends, no trial stays RUNNING and the ledger is written.

    Where the study itself has failed, the next session does that.
    """
    try:
        yield
    except study_or_disk_errors():
        with suppress(*study_or_disk_errors()):
            _tell_the_end(study, ending, ledger)
        raise
    except BaseException:
        _tell_the_end(study, ending, ledger)
        raise
    _tell_the_end(study, ending, ledger)


def _tell_the_end(study: optuna.Study, ending: StopSignal, ledger: Ledger) -> None:
    close_running(study, ending() or "stopped")
    ledger.write()


@contextmanager
def closed_in_time(tracker: WandbTracker, ending: StopSignal) -> Iterator[None]:
    """Let W&B write what is left; not for long where the search is to end soon."""
    try:
        yield
    finally:
        tracker.close(STOPPING_SECONDS if ending() else _CLOSING_SECONDS)
