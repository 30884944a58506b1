"""Contents of a run's folder at one moment, read without disturbing its search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import OutputError
from quantum_rerank.folder_lock import holder
from quantum_rerank.regular_files import reason
from tuning.reporting.events import Event, read_events
from tuning.space import Budget, Space
from tuning.study import attributes
from tuning.study.reading import read_study
from tuning.study.run_folder import (
    EVENTS,
    has_study,
    last_budget,
    read_record,
    recorded_places,
    recorded_space,
    refuse_no_study,
)
from tuning.study.trials import exclude_warm_start
from tuning.study.view import StudyView

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


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
        problems: Sentences on what could not be read; the rest is as it is without it.
    """

    folder: Path
    space: Space
    budget: Budget
    view: StudyView
    sessions: Sequence[Mapping[str, Any]]
    events: Sequence[Event]
    holder: int | None
    now: datetime
    problems: Sequence[str] = ()


def read_snapshot(folder: Path) -> Snapshot:
    """Read the folder of a run, as far as it can be read.

    Raises:
        OutputError: The folder holds no run, or its record is damaged.
    """
    # First: a search that ends while the rest is read then counts as running, not as killed.
    process = holder(folder)
    if process is not None and not has_study(folder):
        raise OutputError(f"The search in `{folder}` is being prepared: there is no study yet.")
    space = recorded_space(read_record(folder))
    places, problems = recorded_places(folder), list[str]()
    refuse_no_study(folder, places)
    now, events = datetime.now(UTC), list[Event]()
    study_attributes: dict[str, Any] = {}
    trials: list[FrozenTrial] = []
    budget = space.header.budget
    try:
        events = read_events(folder / EVENTS)
    except OSError as error:
        problems.append(f"`{folder / EVENTS}` cannot be read: {reason(error)}.")
    try:
        study_attributes, trials = read_study(folder, places)
        budget = last_budget(budget, study_attributes, folder)
    except OutputError as error:
        problems.append(str(error))
    return Snapshot(
        folder=folder,
        space=space,
        budget=budget,
        view=StudyView(exclude_warm_start(trials)),
        sessions=attributes.sessions(study_attributes),
        events=events,
        holder=process,
        now=now,
        problems=problems,
    )
