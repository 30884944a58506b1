"""The status of a run as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quantum_rerank.console import pasted
from tuning.records import EPOCH, OBJECTIVE
from tuning.reporting.descriptions import duration
from tuning.reporting.events import Event
from tuning.reporting.forecast import Forecast
from tuning.reporting.run_status import Best, Cost, Failure, Life, Progress, RunningTrial, Standing


def as_record(now: Standing) -> dict[str, Any]:
    """The facts as JSON knows them; times in seconds, events as in events.jsonl."""
    events = [
        {"time": event.time.isoformat(timespec="milliseconds"), "event": event.kind}
        | ({} if event.trial is None else {"trial": event.trial})
        | {key: value for key, value in event.facts.items() if key != "config"}
        for event in now.events
    ]
    record = asdict(now) | {"events": events}
    record["cost"]["left_seconds"] = now.cost.left
    return record


def render(now: Standing) -> Group:
    """The facts as tables, those that are empty left out."""
    parts: list[RenderableType] = [_headline(now), _overview(now)]
    if now.running:
        parts.append(_running_table(now.running))
    if now.failures:
        parts.append(_failure_table(now.failures))
    if now.events:
        parts.append(_event_table(now.events))
    return Group(*parts)


def _headline(now: Standing) -> Text:
    styles = {"running": "green", "finished": "bold", "ended early": "yellow", "killed": "red"}
    return Text.assemble(
        (now.name, "bold"), "  ", (_life_text(now.life, now.folder), styles[now.life.state])
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


def _overview(now: Standing) -> Table:
    sessions = f"{now.life.sessions} session" + ("s" if now.life.sessions != 1 else "")
    rows = {
        "trials": f"{now.progress.finished}/{now.progress.trials} done: "
        f"{_progress_text(now.progress)}",
        "best": _best_text(now.best),
        "spent": f"{_cost_text(now.cost)}, {sessions}",
        "left": _left_text(now),
    }
    table = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        if text:
            table.add_row(name, Text(text))
    return table


def _progress_text(progress: Progress) -> str:
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


def _left_text(now: Standing) -> str:
    trials = f"{now.progress.to_come} trials to come"
    if now.life.state != "running":
        left = f"{trials}, {duration(now.cost.left)} of the time budget"
        return left if now.progress.to_come else ""
    if now.life.phase == "concluding":
        return "the conclusion: confirmation, baselines, test queries"
    if now.forecast is None:
        return f"at most {duration(now.cost.left)}: {trials}, {now.progress.running} running"
    return f"{_forecast_text(now.forecast)}: {trials}, {now.progress.running} running, " + (
        f"{now.forecast.at_once} at once"
    )


def _forecast_text(forecast: Forecast) -> str:
    if forecast.by_budget:
        return f"{duration(forecast.seconds)}, when a budget ends it"
    return f"about {duration(forecast.seconds)}"


def _running_table(trials: Sequence[RunningTrial]) -> Table:
    table = _table("Running", ("trial", "epoch", "objective", "last report"), "what it is")
    for trial in trials:
        table.add_row(
            str(trial.number),
            f"{trial.epoch}/{trial.epochs}",
            "-" if trial.objective is None else f"{trial.objective:.4f}",
            f"{duration(trial.quiet_seconds)} ago" if trial.epoch else "warming up",
            Text(trial.what),
        )
    return table


def _failure_table(failures: Sequence[Failure]) -> Table:
    table = _table("Failures", ("kind", "trials", "latest"), "why")
    for one in failures:
        table.add_row(Text(one.kind), str(one.count), str(one.trial), Text(one.reason))
    return table


def _event_table(events: Sequence[Event]) -> Table:
    table = _table("Last events", ("time", "trial"), "what")
    for event in events:
        number = "" if event.trial is None else str(event.trial)
        table.add_row(_local(event.time), number, Text(_event_text(event)))
    return table


def _table(title: str, short: tuple[str, ...], long: str) -> Table:
    """An empty table whose last column takes what width there is."""
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
    return f"{facts.get('state', event.kind)}{value}{reason}"


def _local(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
