"""How a run stands: facts that follow from a snapshot of its folder. Nothing is printed here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from optuna.trial import TrialState

from tuning.records import FAILURE
from tuning.reporting.events import Event
from tuning.reporting.forecast import (
    Course,
    Forecast,
    Timeline,
    forecast,
    measured_pace,
    most_at_once,
    shares_going_on,
    timelines,
)
from tuning.reporting.snapshot import Snapshot
from tuning.study.attributes import CONTINUES
from tuning.study.history import curve, finished_trials, is_cut_short, superseded
from tuning.study.ranking import ranking_key

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

State = Literal["running", "finished", "ended early", "killed"]
Phase = Literal["preparing", "searching", "concluding"]

_LAST_EVENTS = 5
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


@dataclass(frozen=True)
class Life:
    """Whether a run is alive, and where.

    phase: empty unless it is running; ended: why it ended early.
    host, pid: of the session that runs, or of the last one.
    """

    state: State
    phase: Phase | Literal[""]
    ended: str
    sessions: int
    host: str
    pid: int | None


@dataclass(frozen=True)
class Progress:
    """Trials by state, of a budget of `trials`; finished: those that are over for good.

    failed: kind -> count, without those that were cut short; of these, `continued` have been taken
    up by another trial, `open` have not.
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
    """The highest objective of a complete trial, or of any while none is complete."""

    trial: int
    state: str
    epoch: int
    objective: float


@dataclass(frozen=True)
class Cost:
    """Seconds of all sessions, and seconds of all trials on a core each, as the budgets count them.

    core_budget_seconds: None if core-hours are not limited.
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
    """A trial at work; quiet_seconds: since its last report, or since its start."""

    number: int
    epoch: int
    epochs: int
    objective: float | None
    quiet_seconds: float
    what: str


@dataclass(frozen=True)
class Failure:
    """Trials that failed for the same kind of reason, the latest as the example."""

    kind: str
    count: int
    trial: int
    reason: str


@dataclass(frozen=True)
class Standing:
    """All that is known of a run; forecast: None unless it runs and an epoch was reported."""

    folder: str
    name: str
    life: Life
    progress: Progress
    best: Best | None
    cost: Cost
    forecast: Forecast | None
    running: Sequence[RunningTrial]
    failures: Sequence[Failure]
    events: Sequence[Event]


def standing(snapshot: Snapshot) -> Standing:
    """The facts of a run, at the snapshot's moment."""
    lines = timelines(snapshot.events)
    at_work = running_trials(snapshot, lines)
    progress = count(snapshot)
    cost = spent(snapshot)
    return Standing(
        folder=str(snapshot.folder),
        name=snapshot.name,
        life=life(snapshot, progress),
        progress=progress,
        best=best(snapshot),
        cost=cost,
        forecast=_forecast(snapshot, lines, progress, cost, at_work),
        running=at_work,
        failures=failures(snapshot.trials),
        events=snapshot.events[-_LAST_EVENTS:],
    )


def live_session(snapshot: Snapshot) -> Mapping[str, Any] | None:
    """The record of the session that runs, once it has written one; it may be done but not gone."""
    last = snapshot.sessions[-1] if snapshot.sessions else None
    if snapshot.holder is None or last is None:
        return None
    return last if snapshot.holder in (0, last["pid"]) else None


def life(snapshot: Snapshot, progress: Progress) -> Life:
    """A run is alive while a process holds its lock; else its last session says how it ended."""
    last = snapshot.sessions[-1] if snapshot.sessions else {}
    n_sessions, host, pid = len(snapshot.sessions), str(last.get("host", "")), last.get("pid")
    if snapshot.holder is not None:
        return Life(
            "running", _phase(snapshot, progress), "", n_sessions, host, snapshot.holder or pid
        )
    if "ended" not in last:
        return Life("killed", "", "", n_sessions, host, pid)
    ended = str(last["ended"])
    return Life("ended early" if ended else "finished", "", ended, n_sessions, host, pid)


def _phase(snapshot: Snapshot, progress: Progress) -> Phase:
    session = live_session(snapshot)
    if session is None:
        return "preparing"
    if "ended" in session:
        return "concluding"
    if progress.running:
        return "searching"
    has_started = any(
        event.kind == "started" and event.time >= _start(session) for event in snapshot.events
    )
    return "concluding" if has_started or not progress.to_come else "preparing"


def count(snapshot: Snapshot) -> Progress:
    """Count trials by state. Of a run that is not alive, none is running."""
    trials, session = snapshot.trials, live_session(snapshot)
    n_running = sum(trial.state == TrialState.RUNNING for trial in trials) if session else 0
    ended = finished_trials(trials)
    continued = superseded(trials)
    cut_short = {trial.number for trial in trials if _is_cut_short(trial, session is not None)}
    n_open = len(cut_short - continued)
    states = Counter(trial.state for trial in ended)
    # A session does not try again what it lost itself; the next one will.
    taken = len(ended) + n_running + (n_open if session else 0)
    return Progress(
        finished=len(ended),
        trials=snapshot.budget.trials,
        complete=states[TrialState.COMPLETE],
        pruned=states[TrialState.PRUNED],
        failed=dict(Counter(_kind(t) for t in ended if t.state == TrialState.FAIL)),
        continued=len(cut_short & continued),
        open=n_open,
        running=n_running,
        to_come=max(snapshot.budget.trials - taken, 0),
    )


def _is_cut_short(trial: FrozenTrial, is_live: bool) -> bool:
    """The next session will say so of what a killed one left running."""
    return is_cut_short(trial) or (trial.state == TrialState.RUNNING and not is_live)


def best(snapshot: Snapshot) -> Best | None:
    """The best trial as the search sees it; confirmation on fresh seeds may prefer another."""
    continued = superseded(snapshot.trials)
    reported = [t for t in snapshot.trials if curve(t) and t.number not in continued]
    if not reported:
        return None
    found = max(reported, key=ranking_key)
    values = curve(found)
    epoch = max(values, key=lambda epoch: (values[epoch], -epoch))
    cut_short = _is_cut_short(found, live_session(snapshot) is not None)
    state = "interrupted" if cut_short else _STATES[found.state]
    return Best(found.number, state, epoch, values[epoch])


def spent(snapshot: Snapshot) -> Cost:
    """What a run has cost by its ledger, with the time that a live session has not written yet."""
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
    """The trials that are at work now."""
    configs = {
        event.trial: event.facts["config"] for event in snapshot.events if _has_config(event)
    }
    return [
        _running_trial(trial, lines.get(trial.number), configs.get(trial.number, {}), snapshot)
        for trial in _running(snapshot)
    ]


def _has_config(event: Event) -> bool:
    return isinstance(event.facts.get("config"), dict)


def _running_trial(
    trial: FrozenTrial, line: Timeline | None, config: Mapping[str, Any], snapshot: Snapshot
) -> RunningTrial:
    values = curve(trial)
    epoch = max(values, default=0)
    time, latest = line.reports[-1] if line and line.reports else (None, 0)
    begun = time or (line.started if line else None) or _aware(trial.datetime_start, snapshot.now)
    return RunningTrial(
        number=trial.number,
        epoch=max(epoch, latest),
        epochs=snapshot.budget.epochs,
        objective=values[epoch] if values else None,
        quiet_seconds=max((snapshot.now - begun).total_seconds(), 0.0),
        what=_describe({**trial.params, **config}),
    )


def failures(trials: Sequence[FrozenTrial]) -> list[Failure]:
    """Why trials failed, the most frequent kind first, those that were cut short included."""
    failed = [trial for trial in trials if FAILURE in trial.user_attrs]
    latest = {_kind(trial): trial for trial in failed}
    return [
        Failure(kind, n, latest[kind].number, str(latest[kind].user_attrs[FAILURE]))
        for kind, n in Counter(_kind(trial) for trial in failed).most_common()
    ]


def _forecast(
    snapshot: Snapshot,
    lines: Mapping[int, Timeline],
    progress: Progress,
    cost: Cost,
    at_work: Sequence[RunningTrial],
) -> Forecast | None:
    session = live_session(snapshot)
    continuing = {trial.number for trial in snapshot.trials if CONTINUES in trial.user_attrs}
    pace = measured_pace(lines, continuing)
    at_once = most_at_once(snapshot.events, _start(session)) if session else 0
    if pace is None or not at_once:
        return None
    return forecast(
        progress.to_come,
        [(trial.epoch, trial.quiet_seconds) for trial in at_work],
        shares_going_on(_courses(snapshot.trials), snapshot.budget.epochs),
        pace,
        at_once,
        cost.left,
        cost.core_left,
    )


def _courses(trials: Sequence[FrozenTrial]) -> list[Course]:
    """How far trials came; an attempt that was continued is part of the one that continues it."""
    ended, continued = {trial.number for trial in finished_trials(trials)}, superseded(trials)
    return [
        Course(max(curve(trial), default=0), trial.number in ended)
        for trial in trials
        if trial.number not in continued
    ]


def _running(snapshot: Snapshot) -> list[FrozenTrial]:
    if not live_session(snapshot):
        return []
    return [trial for trial in snapshot.trials if trial.state == TrialState.RUNNING]


def _start(session: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(session["started"])


def _aware(time: datetime | None, otherwise: datetime) -> datetime:
    """A time of Optuna's, which it keeps without its zone, that of this machine."""
    return time.astimezone() if time else otherwise


def _kind(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(FAILURE, "unknown")).partition(":")[0]


def _describe(config: Mapping[str, Any]) -> str:
    """
    >>> _describe({"loss.name": "triplet", "circuit.n_qubits": 4, "circuit.n_layers": 3})
    'triplet, 4 qubits, 3 layers'
    """
    forms = {
        "loss.name": "{}",
        "circuit.n_qubits": "{} qubits",
        "circuit.n_layers": "{} layers",
    }
    return ", ".join(form.format(config[key]) for key, form in forms.items() if key in config)
