"""End of a session: by signals in order, with every trial ended in the study, within its time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType

import optuna

from quantum_rerank.errors import FilesError
from quantum_rerank.interruption import Interrupted, is_urgent
from tuning.limits.stop_signal import StopSignal
from tuning.records import StopKind, StopReason
from tuning.reporting.progress import ProgressDisplay
from tuning.reporting.tracking import WandbTracker
from tuning.study.ledger import Ledger
from tuning.study.resuming import close_running

_REASONS = {
    signal.SIGINT: StopKind.INTERRUPT,
    signal.SIGTERM: StopKind.TERMINATED,
    signal.SIGHUP: StopKind.HANGUP,  # the terminal was closed
}
STOPPING_SECONDS = 10.0  # that trials have to reach their next report once a search ends
_CLOSING_SECONDS = 60.0  # that W&B has to write what is left


def study_or_disk_errors() -> tuple[type[Exception], ...]:
    """Return the errors after which a user can fix the machine and resume the search."""
    from sqlalchemy.exc import SQLAlchemyError

    return (OSError, SQLAlchemyError, optuna.exceptions.StorageInternalError, FilesError)


def signals_end(stop_signal: StopSignal, display: ProgressDisplay) -> AbstractContextManager[None]:
    """Handle Ctrl-C, SIGTERM and SIGHUP while trials run.

    The first one ends the search in order, the second at the next tick, the third at once. An
    exception at any place may leave the study locked; between two ticks nothing is written.
    """
    return _handled(stop_signal, display, "each trial stops after its epoch", n_in_order=2)


def signals_conclude(
    stop_signal: StopSignal, display: ProgressDisplay
) -> AbstractContextManager[None]:
    """Handle Ctrl-C, SIGTERM and SIGHUP during the conclusion.

    After the first one the best trial so far is exported; the second ends the search at once.
    """
    return _handled(stop_signal, display, "the best so far is exported", n_in_order=1)


@contextmanager
def _handled(
    stop_signal: StopSignal, display: ProgressDisplay, how: str, n_in_order: int
) -> Iterator[None]:
    """Let as many signals end a search in order; the next one interrupts it."""
    previous = {number: signal.getsignal(number) for number in _REASONS}
    n_received = 0

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal n_received
        if n_received and not is_urgent(number, is_first=False):
            return
        n_received += 1
        if n_received > n_in_order:
            raise Interrupted(number)
        stop_signal.is_at_once = n_received == 2
        if n_received == 1:
            stop_signal.stop(StopReason(_REASONS[signal.Signals(number)]))
            display.show_notice(f"Ending: {how}. Ctrl-C again stops now.")

    for number in _REASONS:
        if previous[number] != signal.SIG_IGN:  # as SIGHUP is under nohup
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def trials_closed(study: optuna.Study, stop_signal: StopSignal, ledger: Ledger) -> Iterator[None]:
    """End every running trial in the study and write the ledger, however the block ends.

    Where the study itself has failed, the next session does that.

    Args:
        study: Study of the search.
        stop_signal: Signal that gives the reason of the end.
        ledger: Ledger of the search.
    """
    try:
        yield
    except study_or_disk_errors():
        with suppress(*study_or_disk_errors()):
            _close_trials(study, stop_signal, ledger)
        raise
    except BaseException:
        _close_trials(study, stop_signal, ledger)
        raise
    _close_trials(study, stop_signal, ledger)


def _close_trials(study: optuna.Study, stop_signal: StopSignal, ledger: Ledger) -> None:
    close_running(study, str(stop_signal() or "stopped"))
    ledger.write()


@contextmanager
def closed_in_time(tracker: WandbTracker, stop_signal: StopSignal) -> Iterator[None]:
    """Let W&B write what is left after the block; only briefly where the search was ended."""
    try:
        yield
    finally:
        tracker.close(STOPPING_SECONDS if stop_signal() else _CLOSING_SECONDS)
