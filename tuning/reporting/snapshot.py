"""Contents of a run's folder at one moment, read without disturbing its search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantum_rerank.errors import OutputError
from quantum_rerank.folder_lock import holder
from tuning.reporting.events import Event, read_events
from tuning.space import Budget, Space
from tuning.study import attributes
from tuning.study.reading import read_study
from tuning.study.run_folder import (
    EVENTS,
    has_study,
    read_record,
    recorded_places,
    recorded_space,
)
from tuning.study.trials import exclude_warm_start
from tuning.study.view import StudyView


@dataclass(frozen=True)
class Snapshot:
    """Contents of a run's folder at one moment.

    Attributes:
        folder: Folder of the run.
        space: Space of the run.
        budget: Budget of the last session, extensions included.
        view: Trials of the search itself, without those of earlier runs.
        sessions: Records of the sessions, see `attributes.sessions`.
        events: Events of the run.
        holder: Process that searches into the folder, 0 if unknown, None if none does.
        now: Time of the snapshot.
    """

    folder: Path
    space: Space
    budget: Budget
    view: StudyView
    sessions: Sequence[Mapping[str, Any]]
    events: Sequence[Event]
    holder: int | None
    now: datetime


def read_snapshot(folder: Path) -> Snapshot:
    """Read the folder of a run.

    Raises:
        OutputError: The folder holds no run, or a damaged one.
    """
    # First: a search that ends while the rest is read then counts as running, not as killed.
    process = holder(folder)
    if process is not None and not has_study(folder):
        raise OutputError(f"The search in `{folder}` is being prepared: there is no study yet.")
    space = recorded_space(read_record(folder))
    now, events = datetime.now(UTC), read_events(folder / EVENTS)
    study_attributes, trials = read_study(folder, recorded_places(folder))
    budget = space.header.budget.model_dump() | attributes.budget_changes(study_attributes)
    return Snapshot(
        folder=folder,
        space=space,
        budget=Budget.model_validate(budget),
        view=StudyView(exclude_warm_start(trials)),
        sessions=attributes.sessions(study_attributes),
        events=events,
        holder=process,
        now=now,
    )
