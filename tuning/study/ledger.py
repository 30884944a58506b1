"""What a search has cost, over all its sessions: kept in the study, session by session.

Each session writes only its own record, so that what an earlier one spent
cannot become less, however a session ended.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from quantum_rerank.config import ExperimentConfig
from tuning.records import SECONDS, Clock, TrialEnd

if TYPE_CHECKING:
    import optuna

_SESSION = "session."
_EVERY = 2.0  # seconds between two writes


class Ledger:
    """Seconds of the search and core-seconds of its trials, earlier sessions included.

    A listener: trials tell what they have cost with each report.
    """

    def __init__(self, study: optuna.Study, clock: Clock) -> None:
        earlier = sessions(study.user_attrs)
        self._study, self._clock = study, clock
        self._key = f"{_SESSION}{len(earlier) + 1:04d}"
        self._spent_before = sum(float(session["seconds"]) for session in earlier)
        self._started = self._written = clock()
        self._record: dict[str, Any] = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._core_before = sum(float(session["core_seconds"]) for session in earlier)
        self._trials: dict[int, float] = {}
        self.write()

    def elapsed(self) -> float:
        """Seconds that the search has run, all sessions together."""
        return self._spent_before + self.session_seconds()

    def session_seconds(self) -> float:
        """Seconds since this session started."""
        return self._clock() - self._started

    def core_seconds(self) -> float:
        """Seconds that trials have run, one core each, all sessions together."""
        return self._core_before + sum(self._trials.values())

    def write(self, ended: str | None = None) -> None:
        """Keep what this session has spent; ended: why it is over, empty if it is done."""
        self._written = self._clock()
        if ended is not None:
            self._record["ended"] = ended
        spent = {
            "seconds": round(self.session_seconds(), 3),
            "core_seconds": round(sum(self._trials.values()), 3),
        }
        self._study.set_user_attr(self._key, self._record | spent)

    def tick(self) -> None:
        """`write`, if the last time is long enough ago."""
        if self._clock() - self._written >= _EVERY:
            self.write()

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Nothing: a trial's cost comes with its reports."""

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        self._count(number, metrics)

    def trial_ended(self, end: TrialEnd) -> None:
        self._count(end.number, end.metrics)

    def _count(self, number: int, metrics: Mapping[str, Any]) -> None:
        if SECONDS in metrics:
            self._trials[number] = float(metrics[SECONDS])


def sessions(attributes: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """The records of a study's sessions so far, in order.

    Each: started (UTC), host, pid, seconds, core_seconds; `ended`, why, unless it was killed.
    """
    return [dict(attributes[key]) for key in sorted(attributes) if key.startswith(_SESSION)]
