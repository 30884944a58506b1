"""Status of a run as JSON and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quantum_rerank.plain_text import pasted
from quantum_rerank.plural import counted
from tuning.records import EPOCH, OBJECTIVE
from tuning.reporting.descriptions import duration, time_left
from tuning.reporting.events import EARLY_END, Event
from tuning.reporting.run_status import (
    Best,
    Cost,
    FailureCount,
    Life,
    RunningTrial,
    RunStatus,
    TrialCounts,
)


def as_record(status: RunStatus) -> dict[str, Any]:
    """Return a status as JSON holds it: times in seconds, events as in events.jsonl."""
    events = [
        {"time": event.time.isoformat(timespec="milliseconds"), "event": event.kind}
        | ({} if event.trial is None else {"trial": event.trial})
        | {key: value for key, value in event.facts.items() if key != "config"}
        for event in status.events
    ]
    record = asdict(status) | {"events": events}
    record["cost"]["left_seconds"] = status.cost.left
    return record


def render(status: RunStatus) -> Group:
    """Return a status as tables, without empty ones."""
    parts: list[RenderableType] = [_headline(status), _overview(status)]
    if status.running:
        parts.append(_running_table(status.running))
    if status.failures:
        parts.append(_failure_table(status.failures))
    if status.events:
        parts.append(_event_table(status.events))
    return Group(*parts)


def _headline(status: RunStatus) -> Text:
    styles = {"running": "green", "finished": "bold", "ended early": "yellow", "killed": "red"}
    return Text.assemble(
        (status.name, "bold"),
        "  ",
        (_life_text(status.life, status.folder), styles[status.life.state]),
    )


def _life_text(life: Life, folder: str) -> str:
    command = pasted("python", "-m", "tuning.search", "--resume", folder)
    resume = f"continue with `{command}`"
    if life.state == "running":
        where = f"process {life.pid or 'unknown'}" + (f" on {life.host}" if life.host else "")
        return f"running, {life.phase} ({where})"
    if life.state == "killed":
        return f"was killed, or failed (search.log may say why): {resume}"
    return f"ended early by {life.ended}: {resume}" if life.ended else "finished"


def _overview(status: RunStatus) -> Table:
    sessions = f"{status.life.sessions} session" + ("s" if status.life.sessions != 1 else "")
    rows = {
        "trials": f"{status.progress.finished}/{status.progress.trials} done: "
        f"{_progress_text(status.progress)}",
        "best": _best_text(status.best),
        "spent": f"{_cost_text(status.cost)}, {sessions}",
        "left": _left_text(status),
    }
    table = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        if text:
            table.add_row(name, Text(text))
    return table


def _progress_text(progress: TrialCounts) -> str:
    kinds = ", ".join(f"{kind} {n}" for kind, n in progress.failed.items())
    n_failed = sum(progress.failed.values())
    parts = [
        f"{progress.complete} complete",
        f"{progress.pruned} pruned",
        f"{n_failed} failed" + (f" ({kinds})" if kinds else ""),
    ]
    if n_cut_short := progress.continued + progress.open:
        parts.append(f"{n_cut_short} interrupted ({progress.continued} of them continued)")
    return ", ".join(parts)


def _best_text(best: Best | None) -> str:
    if best is None:
        return ""
    return f"{best.objective:.4f} in trial {best.trial} ({best.state}), epoch {best.epoch}"


def _cost_text(cost: Cost) -> str:
    """
    >>> _cost_text(Cost(5400.0, 86400.0, 9000.0, core_budget_seconds=None))
    '1:30:00 of 24:00:00, cores 2:30:00'
    """
    core = duration(cost.core_seconds)
    if cost.core_budget_seconds is not None:
        core += f" of {duration(cost.core_budget_seconds)}"
    return f"{duration(cost.seconds)} of {duration(cost.budget_seconds)}, cores {core}"


def _left_text(status: RunStatus) -> str:
    to_come = f"{counted(status.progress.to_come, 'trial')} to come"
    if status.life.state != "running":
        left = f"{to_come}, {duration(status.cost.left)} of the time budget"
        return left if status.progress.to_come else ""
    if status.life.phase == "concluding":
        return "the conclusion: confirmation, baselines, test queries"
    at_once = f", {status.forecast.at_once} at once" if status.forecast else ""
    left = time_left(status.forecast, status.cost.left)
    return f"{left}: {to_come}, {status.progress.running} running{at_once}"


def _running_table(trials: Sequence[RunningTrial]) -> Table:
    table = _table("Running", ("trial", "epoch", "objective", "last report"), "configuration")
    for trial in trials:
        table.add_row(
            str(trial.number),
            f"{trial.epoch}/{trial.epochs}",
            "-" if trial.objective is None else f"{trial.objective:.4f}",
            f"{duration(trial.quiet_seconds)} ago" if trial.epoch else "warming up",
            Text(trial.what),
        )
    return table


def _failure_table(failures: Sequence[FailureCount]) -> Table:
    table = _table("Failures", ("kind", "trials", "latest"), "reason")
    for failure in failures:
        numbers = (str(failure.count), str(failure.trial))
        table.add_row(Text(failure.kind), *numbers, Text(failure.reason))
    return table


def _event_table(events: Sequence[Event]) -> Table:
    table = _table("Last events", ("time", "trial"), "event")
    for event in events:
        number = "" if event.trial is None else str(event.trial)
        table.add_row(_local(event.time), number, Text(_event_text(event)))
    return table


def _table(title: str, short: tuple[str, ...], long: str) -> Table:
    """Return an empty table whose last column is as wide as there is room."""
    table = Table(title=title, title_justify="left", box=None)
    for name in short:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(long, overflow="fold")
    return table


def _event_text(event: Event) -> str:
    facts = event.facts
    value = f", objective {facts[OBJECTIVE]:.4f}" if facts.get(OBJECTIVE) is not None else ""
    reason = f" ({facts['reason']})" if facts.get("reason") else ""
    if event.kind == "reported":
        return f"epoch {facts.get(EPOCH)}{value}"
    if event.kind == "session_started":
        return f"session started, {facts.get('trials_to_go')} trials to go"
    if event.kind == "session_ended":
        return f"session ended: {facts.get('ended') or 'done'}"
    if event.kind == EARLY_END:
        return str(facts.get("reason", "")).partition(":")[0]
    return f"{facts.get('state', event.kind)}{value}{reason}"


def _local(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
