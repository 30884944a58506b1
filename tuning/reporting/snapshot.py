"""A run's folder as it is at this moment, live or over, read without disturbing its search.

A study in SQLite is copied into memory under a shared lock, 0.5 ms for 15 trials and 2 ms for 500:
for so long a search that writes would wait. A journal is read without its lock, and a database in
transactions that may only read: nothing here can write to what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import OutputError
from quantum_rerank.folder_lock import holder
from tuning.reporting.events import Event, read_events
from tuning.space import Budget
from tuning.study.history import exclude_warm_start
from tuning.study.ledger import sessions
from tuning.study.reading import read_study
from tuning.study.run_folder import (
    BUDGET,
    EVENTS,
    has_study,
    read_record,
    recorded_places,
    recorded_space,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Snapshot:
    """What a run's folder held at `now`.

    budget: as it was last, extensions included.
    trials: the search's own, by number; sessions: see `tuning.study.ledger.sessions`.
    holder: the process that searches into the folder, 0 if unknown, None if none does.
    """

    folder: Path
    name: str
    budget: Budget
    trials: Sequence[FrozenTrial]
    sessions: Sequence[Mapping[str, Any]]
    events: Sequence[Event]
    holder: int | None
    now: datetime


def read_snapshot(folder: Path) -> Snapshot:
    """Read a run; OutputError if the folder holds none, or a damaged one."""
    # First: a search that ends while the rest is read is then taken for running, not for killed.
    holding = holder(folder)
    if holding is not None and not has_study(folder):
        raise OutputError(f"The search in `{folder}` is being prepared: there is no study yet.")
    header = recorded_space(read_record(folder)).header
    now, events = datetime.now(UTC), read_events(folder / EVENTS)
    attributes, trials = read_study(folder, recorded_places(folder))
    return Snapshot(
        folder=folder,
        name=header.name,
        budget=Budget.model_validate(header.budget.model_dump() | attributes.get(BUDGET, {})),
        trials=exclude_warm_start(trials),
        sessions=sessions(attributes),
        events=events,
        holder=holding,
        now=now,
    )
