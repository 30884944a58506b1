"""A run's folder as it is at this moment, live or over, read without disturbing its search.

A study in SQLite is copied into memory under a shared lock, 0.5 ms for 15 trials and 2 ms for 500:
for so long a search that writes would wait. A journal is read without its lock, and a database in
transactions that may only read: nothing here can write to what it reads.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import OutputError
from quantum_rerank.folder_lock import holder
from tuning.space import Budget
from tuning.study.history import exclude_warm_start
from tuning.study.ledger import sessions
from tuning.study.run_folder import (
    BUDGET,
    EVENTS,
    find_study,
    has_study,
    read_record,
    recorded_places,
    recorded_space,
    refuse_no_study,
    unreadable,
)
from tuning.study.storage import (
    SQLITE,
    STUDY,
    StorageConfig,
    connect,
    connect_to_read,
    of_this_optuna,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_BUSY_SECONDS = 10.0  # that the study may be locked by its search; a write takes milliseconds


@dataclass(frozen=True)
class Event:
    """A line of events.jsonl: what happened (see `events`), and what it says beside.

    trial: its number; None where it was not a trial that something happened to.
    """

    time: datetime
    kind: str
    trial: int | None
    facts: Mapping[str, Any]


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


def read_study(folder: Path, places: StorageConfig) -> tuple[dict[str, Any], list[FrozenTrial]]:
    """The attributes and trials of a run's study; empty while it is being made.

    Raises: OutputError if there is no study, it is damaged, or its database does not answer.
    """
    refuse_no_study(folder, places)
    if places.storage == SQLITE:
        return read_file(folder / STUDY)
    from optuna.exceptions import StorageInternalError

    try:
        reader = connect(folder, places) if places.file else connect_to_read(places)
        study = find_study(reader, folder, places)
        return dict(study.user_attrs), study.get_trials(deepcopy=False)
    except (StorageInternalError, ValueError) as error:
        raise unreadable(error, folder, places) from None


def read_file(path: Path) -> tuple[dict[str, Any], list[FrozenTrial]]:
    """The attributes and trials of a study in SQLite, all of the same moment.

    Raises: OutputError if it is damaged, or stays locked.
    """
    with closing(sqlite3.connect(":memory:")) as memory:
        try:
            copy_database(path, memory)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorname == "SQLITE_BUSY":
                raise OutputError(f"`{path}` is being written to. Try again.") from None
            raise OutputError(f"`{path}` is damaged: {error}.") from None
        with of_this_optuna(str(path)):
            return _study_in(memory)


def copy_database(path: Path, into: sqlite3.Connection) -> None:
    """Copy a database as it was last committed, writing nothing beside it.

    Raises: sqlite3.DatabaseError.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as source:
        try:
            # Locked before it is copied, since a copy would wait for its lock without end.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
                raise
            _copy_undoing(path, into)
        else:
            source.backup(into)


def _copy_undoing(path: Path, into: sqlite3.Connection) -> None:
    """Copy a database that a killed process had half written, as it was before."""
    with TemporaryDirectory(prefix="study-") as scratch:
        for file in (path, path.with_name(f"{path.name}-journal")):
            shutil.copy(file, scratch)
        with closing(sqlite3.connect(Path(scratch) / path.name)) as copy:
            copy.backup(into)


def _study_in(memory: sqlite3.Connection) -> tuple[dict[str, Any], list[FrozenTrial]]:
    import optuna
    from sqlalchemy.exc import DatabaseError
    from sqlalchemy.pool import StaticPool

    only = {"creator": lambda: memory, "poolclass": StaticPool}
    try:
        storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs=only)
        names = optuna.get_all_study_names(storage)
        if not names:
            return {}, []
        study = optuna.load_study(study_name=names[0], storage=storage)
        return dict(study.user_attrs), study.get_trials(deepcopy=False)
    except DatabaseError as error:
        raise OutputError(f"The study is damaged: {error.orig}.") from None
