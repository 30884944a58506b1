"""Events of a search as lines of JSON, and its log."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.regular_files import open_regular, read_tail
from tuning.records import EPOCH, OBJECTIVE, SECONDS, Listener, TrialEnd

EARLY_END = "early_end"
"""Event of a search that proposes no further trial, with its `reason`."""
_MAX_EVENTS = 2**25
"""Bytes of events.jsonl that are read: its end, of some 100,000 reports."""


class EventLog(Listener):
    """Listener that appends each event to a file, as a whole line of JSON.

    Every line has `time` (UTC) and `event`: started, reported or ended, with the trial's number;
    session_started and session_ended for the search itself.

    Args:
        path: File, which may exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists() and read_tail(path, 1) not in (b"", b"\n"):
            with open_regular(path, "ab") as file:  # a process was killed within its last line
                file.write(b"\n")

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Write the configuration of a trial."""
        self.write("started", trial=number, config=flat(config))

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Write the objective and the seconds of a trial after an epoch."""
        facts = {key: metrics[key] for key in (OBJECTIVE, SECONDS) if key in metrics}
        self.write("reported", trial=number, epoch=epoch, **facts)

    def trial_ended(self, end: TrialEnd) -> None:
        """Write the outcome of a trial, and the reason of its failure."""
        facts = {"state": end.outcome, EPOCH: end.epoch, OBJECTIVE: end.objective}
        self.write("ended", trial=end.number, **facts, reason=str(end.failure or ""))

    def write(self, event: str, **facts: Any) -> None:
        """Append an event now.

        Args:
            event: Kind of the event.
            **facts: Facts of the event; numbers that are not finite are left out.
        """
        finite = {k: v for k, v in facts.items() if not isinstance(v, float) or math.isfinite(v)}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **finite})
        with open_regular(self._path, "ab") as file:
            file.write(f"{line}\n".encode())


@contextmanager
def write_log(path: Path) -> Iterator[None]:
    """Append the log of this project's packages, tracebacks included, to a file.

    Where the log cannot be written, such as on a full disk, no tracebacks are printed meanwhile,
    not even those of W&B: the search reports it once, as its own error.
    """
    file = TextIOWrapper(open_regular(path, "ab"), "utf-8", "backslashreplace")
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("tuning", "quantum_rerank")]
    previous = [(logger.level, logger.propagate) for logger in loggers]
    prints, logging.raiseExceptions = logging.raiseExceptions, False
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        logging.raiseExceptions = prints
        for logger, (level, propagate) in zip(loggers, previous, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        with suppress(OSError):  # lines that are still to be written
            file.close()


def _plausible(time: datetime) -> datetime:
    """Return a time in UTC; ValueError for one that no search can have had."""
    if not 2000 <= time.year < 2200:
        raise ValueError
    return time.astimezone(UTC)


_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Line(BaseModel, extra="allow"):
    """Line of events.jsonl: the types of the facts that something is computed from."""

    time: Annotated[datetime, AfterValidator(_plausible)]
    event: str
    trial: Annotated[int, Field(ge=0)] | None = None
    epoch: Annotated[int, Field(ge=0)] = 0
    objective: _Finite | None = None
    seconds: Annotated[_Finite, Field(ge=0.0)] = 0.0
    config: dict[str, Any] = {}
    state: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Event:
    """Line of events.jsonl.

    Attributes:
        time: Time of the event.
        kind: Kind of the event, see `EventLog`.
        trial: Number of the trial; None for an event of the search itself.
        facts: Other entries of the line.
    """

    time: datetime
    kind: str
    trial: int | None
    facts: Mapping[str, Any]


def read_events(path: Path) -> list[Event]:
    """Return the events of a run in order, without lines that are damaged or not whole yet."""
    try:
        text = read_tail(path, _MAX_EVENTS).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [event for line in text.split("\n") if (event := _event(line)) is not None]


def _event(line: str) -> Event | None:
    """Return the event of a line; None if it is damaged, or a fact is of another type."""
    try:
        facts = _Line.model_validate_json(line).model_dump(exclude_unset=True)
    except ValueError:
        return None
    time, kind, trial = facts.pop("time"), facts.pop("event"), facts.pop("trial", None)
    return Event(time, kind, trial, facts)
