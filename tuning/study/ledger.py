"""Cost of a search over all its sessions, kept in the study session by session.

Each session writes only its own record, so that the cost of an earlier one cannot become
less, however a session ended.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tuning.records import SECONDS, Clock, Listener, StopReason, TrainingsState, TrialEnd
from tuning.study import attributes

if TYPE_CHECKING:
    import optuna

_WRITE_SECONDS = 2.0  # between two writes


class Ledger(Listener):
    """Seconds of a search and core-seconds of its trainings, earlier sessions included.

    Args:
        study: Study of the search, which holds the records of its sessions.
        clock: Seconds.
    """

    def __init__(self, study: optuna.Study, clock: Clock) -> None:
        previous = attributes.sessions(study.user_attrs)
        self._study, self._clock = study, clock
        self._index = len(previous) + 1
        self._previous_seconds = sum(float(session["seconds"]) for session in previous)
        self._previous_core = sum(float(session["core_seconds"]) for session in previous)
        self._started = self._written = clock()
        self._record: dict[str, Any] = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._trials: dict[int, float] = {}
        self._conclusion = 0.0
        self.write()

    def elapsed(self) -> float:
        """Return the seconds that the search has run, all sessions together."""
        return self._previous_seconds + self.session_seconds()

    def session_seconds(self) -> float:
        """Return the seconds since this session started."""
        return self._clock() - self._started

    def core_seconds(self) -> float:
        """Return the seconds that trainings have run on a core each, all sessions together.

        Trials count, and so do the trainings of the conclusion.
        """
        return self._previous_core + self._session_core()

    def write(self) -> None:
        """Write the cost of this session."""
        self._written = self._clock()
        spent = {
            "seconds": round(self.session_seconds(), 3),
            "core_seconds": round(self._session_core(), 3),
        }
        attributes.write_session(self._study, self._index, self._record | spent)

    def close(self, reason: StopReason | None) -> None:
        """Write that this session is over.

        Args:
            reason: Reason for which it ended early; None if the search is done.
        """
        self._record["ended"] = str(reason or "")
        self.write()

    def tick(self) -> None:
        """Write the cost of this session, unless that was done a moment ago."""
        if self._clock() - self._written >= _WRITE_SECONDS:
            self.write()

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Take the seconds of a trial from its report."""
        self._count(number, metrics)

    def trial_ended(self, end: TrialEnd) -> None:
        """Take the seconds of a trial from its last report."""
        self._count(end.number, end.metrics)

    def trainings_ran(self, state: TrainingsState) -> None:
        """Take the seconds of the conclusion's trainings, and write the cost now and then."""
        self._conclusion += state.core_seconds
        self.tick()

    def _session_core(self) -> float:
        return sum(self._trials.values()) + self._conclusion

    def _count(self, number: int, metrics: Mapping[str, Any]) -> None:
        if SECONDS in metrics:
            self._trials[number] = float(metrics[SECONDS])
