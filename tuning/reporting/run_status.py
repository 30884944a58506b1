"""Status of a run: facts that follow from a snapshot of its folder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from optuna.trial import TrialState

from quantum_rerank.config import flat
from tuning.reporting.descriptions import describe_config
from tuning.reporting.events import EARLY_END, Event
from tuning.reporting.forecast import (
    ConclusionWork,
    Forecast,
    TimeLeft,
    Timeline,
    Workload,
    conclusion_work,
    continuing_trials,
    extents_of,
    forecast,
    measured_pace,
    most_at_once,
    shares_going_on,
    timelines,
)
from tuning.reporting.snapshot import Snapshot
from tuning.study import attributes
from tuning.study.ranking import ranking_key
from tuning.study.trials import STATE_NAMES, curve, is_cut_short, last_epoch
from tuning.study.view import StudyView

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

State = Literal["running", "finished", "ended early", "killed"]
Phase = Literal["preparing", "searching", "concluding"]

_LAST_EVENTS = 5


@dataclass(frozen=True)
class Life:
    """State of a run's process.

    Attributes:
        state: State of the run.
        phase: Phase of a run that is running; empty for any other.
        ended: Reason for which it ended early; empty for any other.
        sessions: Number of sessions.
        host: Machine of the session that runs, or of the last one.
        pid: Process of that session.
    """

    state: State
    phase: Phase | Literal[""]
    ended: str
    sessions: int
    host: str
    pid: int | None


@dataclass(frozen=True)
class TrialCounts:
    """Numbers of trials by state.

    Attributes:
        finished: Trials that are over for good.
        trials: Budget of trials.
        complete: Complete trials.
        pruned: Pruned trials.
        failed: Kind of failure -> trials, without those that were cut short.
        continued: Trials that were cut short and continued by another trial.
        open: Trials that were cut short and not continued yet.
        running: Running trials.
        to_come: Trials that have not started.
    """

    finished: int
    trials: int
    complete: int
    pruned: int
    failed: Mapping[str, int]
    continued: int
    open: int
    running: int
    to_come: int


@dataclass(frozen=True)
class Best:
    """Highest objective of a complete trial, or of any trial while none is complete."""

    trial: int
    state: str
    epoch: int
    objective: float


@dataclass(frozen=True)
class Cost:
    """Cost of a run, as its budgets count it.

    Attributes:
        seconds: Seconds of all sessions.
        budget_seconds: Budget of these.
        core_seconds: Seconds of all trials on a core each.
        core_budget_seconds: Budget of these; None if they are not limited.
    """

    seconds: float
    budget_seconds: float
    core_seconds: float
    core_budget_seconds: float | None

    @property
    def left(self) -> float:
        """Seconds until the time budget ends."""
        return max(self.budget_seconds - self.seconds, 0.0)

    @property
    def core_left(self) -> float:
        """Core-seconds until their budget ends; infinite if there is none."""
        budget = math.inf if self.core_budget_seconds is None else self.core_budget_seconds
        return max(budget - self.core_seconds, 0.0)


@dataclass(frozen=True)
class RunningTrial:
    """Trial that runs.

    Attributes:
        number: Number of the trial.
        epoch: Last epoch that it reported.
        epochs: Epochs of its budget.
        objective: Objective of the last epoch; None before the first.
        quiet_seconds: Seconds since its last report, or since its start.
        what: Its configuration in words.
    """

    number: int
    epoch: int
    epochs: int
    objective: float | None
    quiet_seconds: float
    what: str


@dataclass(frozen=True)
class FailureCount:
    """Number of trials that failed for the same kind of reason, with the latest as example."""

    kind: str
    count: int
    trial: int
    reason: str


@dataclass(frozen=True)
class RunStatus:
    """Status of a run; the forecast is None unless it runs and an epoch was reported.

    `problems` are sentences on what of the folder could not be read.
    """

    folder: str
    name: str
    life: Life
    progress: TrialCounts
    best: Best | None
    cost: Cost
    forecast: Forecast | None
    running: Sequence[RunningTrial]
    failures: Sequence[FailureCount]
    events: Sequence[Event]
    problems: Sequence[str] = ()


def run_status(snapshot: Snapshot) -> RunStatus:
    """Return the status of a run at the moment of a snapshot."""
    lines = timelines(snapshot.events)
    running = running_trials(snapshot, lines)
    counts, cost = count_trials(snapshot), spent(snapshot)
    left = TimeLeft(cost.left, cost.core_left)
    return RunStatus(
        folder=str(snapshot.folder),
        name=snapshot.space.header.name,
        life=life(snapshot, counts),
        progress=counts,
        best=best(snapshot),
        cost=cost,
        forecast=_forecast(snapshot, lines, _workload(snapshot, counts, running), left),
        running=running,
        failures=failure_counts(snapshot.view),
        events=snapshot.events[-_LAST_EVENTS:],
        problems=snapshot.problems,
    )


def live_session(snapshot: Snapshot) -> Mapping[str, Any] | None:
    """Return the record of the session that runs, once it has written one."""
    last = snapshot.sessions[-1] if snapshot.sessions else None
    if snapshot.holder is None or last is None:
        return None
    return last if snapshot.holder in (0, last["pid"]) else None


def life(snapshot: Snapshot, counts: TrialCounts) -> Life:
    """Return the state of a run's process.

    A run is alive while a process holds its lock; else its last session says how it ended.
    """
    last = snapshot.sessions[-1] if snapshot.sessions else {}
    pid = last.get("pid")
    state: State
    phase: Phase | Literal[""] = ""
    ended = str(last.get("ended", ""))
    if snapshot.holder is not None:
        state, phase, ended = "running", _phase(snapshot, counts), ""
        pid = snapshot.holder or pid
    elif "ended" not in last:
        state = "killed"
    else:
        state = "ended early" if ended else "finished"
    return Life(
        state=state,
        phase=phase,
        ended=ended,
        sessions=len(snapshot.sessions),
        host=str(last.get("host", "")),
        pid=pid,
    )


def _phase(snapshot: Snapshot, counts: TrialCounts) -> Phase:
    session = live_session(snapshot)
    if session is None:
        return "preparing"
    if "ended" in session:
        return "concluding"
    if counts.running:
        return "searching"
    has_started = any(
        event.kind == "started" and event.time >= _start(session) for event in snapshot.events
    )
    return "concluding" if has_started or not counts.to_come else "preparing"


def count_trials(snapshot: Snapshot) -> TrialCounts:
    """Count trials by state; a run that is not alive has no running ones."""
    view, session = snapshot.view, live_session(snapshot)
    n_running = len(view.running()) if session else 0
    finished = view.finished()
    continued = view.superseded()
    cut_short = {trial.number for trial in view if _is_cut_short(trial, session is not None)}
    n_open = len(cut_short - continued)
    states = Counter(trial.state for trial in finished)
    # The session that lost a trial does not try it again; the next one will.
    n_taken = len(finished) + n_running + (n_open if session else 0)
    return TrialCounts(
        finished=len(finished),
        trials=snapshot.budget.trials,
        complete=states[TrialState.COMPLETE],
        pruned=states[TrialState.PRUNED],
        failed=dict(Counter(_kind(t) for t in finished if t.state == TrialState.FAIL)),
        continued=len(cut_short & continued),
        open=n_open,
        running=n_running,
        to_come=0 if _has_ended_early(snapshot) else max(snapshot.budget.trials - n_taken, 0),
    )


def _has_ended_early(snapshot: Snapshot) -> bool:
    """Return whether the last session proposes no further trial."""
    for event in reversed(snapshot.events):
        if event.kind in (EARLY_END, "session_started"):
            return event.kind == EARLY_END
    return False


def _is_cut_short(trial: FrozenTrial, is_live: bool) -> bool:
    """Return whether a trial was cut short; one that a killed session left running was, too."""
    return is_cut_short(trial) or (trial.state == TrialState.RUNNING and not is_live)


def best(snapshot: Snapshot) -> Best | None:
    """Return the best trial of the search; confirmation on fresh seeds may prefer another."""
    continued = snapshot.view.superseded()
    reported = [t for t in snapshot.view if curve(t) and t.number not in continued]
    if not reported:
        return None
    trial = max(reported, key=ranking_key)
    values = curve(trial)
    epoch = max(values, key=lambda epoch: (values[epoch], -epoch))
    cut_short = _is_cut_short(trial, live_session(snapshot) is not None)
    state = "interrupted" if cut_short else STATE_NAMES[trial.state]
    return Best(trial.number, state, epoch, values[epoch])


def spent(snapshot: Snapshot) -> Cost:
    """Return the cost of a run, with the time that a live session has not written yet."""
    seconds = sum(float(session["seconds"]) for session in snapshot.sessions)
    core_seconds = sum(float(session["core_seconds"]) for session in snapshot.sessions)
    session = live_session(snapshot)
    if session and "ended" not in session:
        since = (snapshot.now - _start(session)).total_seconds()
        seconds += max(since - float(session["seconds"]), 0.0)
    budget = snapshot.budget
    core_budget = budget.core_hours * 3600.0 if budget.core_hours else None
    return Cost(seconds, budget.hours * 3600.0, core_seconds, core_budget)


def running_trials(snapshot: Snapshot, lines: Mapping[int, Timeline]) -> list[RunningTrial]:
    """Return the trials that run now.

    Args:
        snapshot: Contents of the run's folder.
        lines: Trial -> its timeline.
    """
    if not live_session(snapshot):
        return []
    return [
        _running_trial(trial, lines.get(trial.number), snapshot)
        for trial in snapshot.view.running()
    ]


def _running_trial(trial: FrozenTrial, line: Timeline | None, snapshot: Snapshot) -> RunningTrial:
    values, epoch = curve(trial), last_epoch(trial)
    time, reported = line.reports[-1] if line and line.reports else (None, 0)
    now = snapshot.now.timestamp()
    start = trial.datetime_start.timestamp() if trial.datetime_start else now
    since = time or (line.started if line else start)
    return RunningTrial(
        number=trial.number,
        epoch=max(epoch, reported),
        epochs=snapshot.budget.epochs,
        objective=values[epoch] if values else None,
        quiet_seconds=max(now - since, 0.0),
        what=describe_config(_config(trial, snapshot)),
    )


def _config(trial: FrozenTrial, snapshot: Snapshot) -> Mapping[str, Any]:
    """Return the configuration of a trial, by its event if there is one."""
    for event in reversed(snapshot.events):
        config = event.facts.get("config")
        if event.trial == trial.number and isinstance(config, dict):
            return config
    return {**flat(snapshot.space.base), **trial.params}


def failure_counts(view: StudyView) -> list[FailureCount]:
    """Count failures by kind, the most frequent first, those that were cut short included."""
    failures = attributes.failures(view)
    latest = {failure.kind: number for number, failure in failures.items()}
    counts = Counter(failure.kind for failure in failures.values())
    return [
        FailureCount(str(kind), n, latest[kind], str(failures[latest[kind]]))
        for kind, n in counts.most_common()
    ]


def _workload(
    snapshot: Snapshot, counts: TrialCounts, running: Sequence[RunningTrial]
) -> Workload | None:
    """Return the trials that a live session has still to run; None if no session lives."""
    session = live_session(snapshot)
    if session is None:
        return None
    is_searching = bool(counts.to_come or running)
    return Workload(
        n_to_come=counts.to_come,
        running=[(trial.epoch, trial.quiet_seconds) for trial in running],
        at_once=most_at_once(snapshot.events, _start(session).timestamp()),
        conclusion=_conclusion(snapshot) if is_searching else ConclusionWork(),
    )


def _conclusion(snapshot: Snapshot) -> ConclusionWork:
    return conclusion_work(snapshot.space.header, extents_of(snapshot.view))


def _forecast(
    snapshot: Snapshot, lines: Mapping[int, Timeline], work: Workload | None, left: TimeLeft
) -> Forecast | None:
    pace = measured_pace(lines, continuing_trials(snapshot.view))
    if pace is None or work is None or not work.at_once:
        return None
    shares = shares_going_on(extents_of(snapshot.view), snapshot.budget.epochs)
    return forecast(work, shares, pace, left)


def _start(session: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(session["started"])


def _kind(trial: FrozenTrial) -> str:
    failure = attributes.failure(trial)
    return str(failure.kind) if failure else "unknown"
