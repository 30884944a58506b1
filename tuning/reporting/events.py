"""What a search did, for whoever reads it later: a line of JSON per event, and a log."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantum_rerank.config import ExperimentConfig, flat
from tuning.records import EPOCH, OBJECTIVE, SECONDS, TrialEnd


class EventLog:
    """A listener that appends each event to a file, whole lines at a time.

    Every line has `time` (UTC) and `event`: started, reported or ended, with the trial's number;
    session_started and session_ended for the search itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
            with path.open("ab") as file:  # a process was killed within its last line
                file.write(b"\n")

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        self.write("started", trial=number, config=flat(config))

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        facts = {key: metrics[key] for key in (OBJECTIVE, SECONDS) if key in metrics}
        self.write("reported", trial=number, epoch=epoch, **facts)

    def trial_ended(self, end: TrialEnd) -> None:
        facts = {"state": end.state, EPOCH: end.epoch, OBJECTIVE: end.objective}
        self.write("ended", trial=end.number, **facts, reason=end.reason)

    def write(self, event: str, **facts: Any) -> None:
        """Append an event now; what is not finite is left out."""
        finite = {k: v for k, v in facts.items() if not isinstance(v, float) or math.isfinite(v)}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **finite})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@contextmanager
def write_log(path: Path) -> Iterator[None]:
    """Append what the packages of this project log, tracebacks included, to a file.

    A log that cannot be written, on a full disk, prints no tracebacks meanwhile, W&B's neither:
    the search says it once, as its own error.
    """
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("tuning", "quantum_rerank")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    prints, logging.raiseExceptions = logging.raiseExceptions, False
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        logging.raiseExceptions = prints
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        with suppress(OSError):  # of what was not written, and is still to be
            handler.close()


@dataclass(frozen=True)
class Event:
    """A line of events.jsonl: what happened (see `events`), and what it says beside.

    trial: its number; None where it was not a trial that something happened to.
    """

    time: datetime
    kind: str
    trial: int | None
    facts: Mapping[str, Any]


def read_events(path: Path) -> list[Event]:
    """The events of a run, in order; a line that is damaged, or not whole yet, is passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [event for line in lines if (event := _event(line)) is not None]


def _event(line: str) -> Event | None:
    try:
        facts = dict(json.loads(line))
        time = datetime.fromisoformat(facts.pop("time")).astimezone(UTC)
        trial = facts.pop("trial", None)
        return Event(time, str(facts.pop("event")), None if trial is None else int(trial), facts)
    except (ValueError, TypeError, KeyError):
        return None
