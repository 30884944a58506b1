"""Page of a search: report.html, written at its end and by `quantum-rerank status --html`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import COSINE, Comparison
from quantum_rerank.evaluation.target_table import number
from quantum_rerank.evaluation.targets import read_target_records
from quantum_rerank.plain_text import pasted
from quantum_rerank.plural import counted
from quantum_rerank.regular_files import read_json
from quantum_rerank.reports.page import Chart, Listing, Section, write_page
from quantum_rerank.reports.tabular import Tabular
from tuning.reporting.descriptions import describe_trial, duration
from tuning.reporting.run_status import RunStatus, run_status
from tuning.reporting.search_charts import quality, search_charts
from tuning.reporting.search_scores import RoleScores, SearchScores, read_scores
from tuning.reporting.snapshot import Snapshot
from tuning.study import attributes
from tuning.study.ranking import ranking_key
from tuning.study.run_folder import BEST, SUMMARY
from tuning.study.trials import STATE_NAMES, highest, last_epoch, parameters

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PAGE = "report.html"
_FIRST_STAGE = "bm25_cosine"
_FILES = ("--input", "candidates.jsonl", "--output", "reranked.jsonl")
_WORST = 10  # queries that are listed


@dataclass(frozen=True)
class _Finished:
    """Files that the conclusion of a search has written."""

    summary: Mapping[str, Any]
    scores: SearchScores | None

    @cached_property
    def comparisons(self) -> dict[str, dict[str, Comparison]]:
        """Role -> system -> winner minus system."""
        return self.scores.comparisons() if self.scores else {}


def write_search_page(snapshot: Snapshot, path: Path) -> None:
    """Write the page of a run, live or over.

    Args:
        snapshot: Contents of the run's folder.
        path: File to write.

    Raises:
        OutputError: The file cannot be written.
        MissingPackage: plotly or jinja2 is not installed.
    """
    write_page(
        path,
        f"Search {snapshot.space.header.name}",
        list(_sections(snapshot)),
        f"{snapshot.folder.name}, {snapshot.now:%Y-%m-%d %H:%M} UTC",
    )


def _sections(snapshot: Snapshot) -> Iterator[Section]:
    trials, finished = snapshot.view.trials, _read_finished(snapshot.folder)
    status = run_status(snapshot)
    yield Section("Result", list(_finding(snapshot, status, finished)), is_finding=True)
    if finished is not None:
        yield from _quality(finished)
        yield from _targets(finished)
    yield Section("Trials", parts=[_leaderboard(snapshot), *search_charts(trials, snapshot.space)])
    if status.failures:
        rows = tuple((f.kind, str(f.count), str(f.trial), f.reason) for f in status.failures)
        columns = ("kind", "trials", "latest", "reason")
        table = Tabular("Failed trials by reason", columns, rows, ("kind", "reason"))
        yield Section("Failures", parts=[table])
    if finished is not None:
        yield from _worst_queries(finished)
    yield from _winner(snapshot, finished)


def _read_finished(folder: Path) -> _Finished | None:
    """Return what the conclusion has written; None before it, or where it cannot be read."""
    try:
        summary = read_json(folder / SUMMARY)
        if not isinstance(summary, dict) or not isinstance(summary.get("best"), dict):
            return None
    except (OSError, ValueError):
        return None
    return _Finished(summary, read_scores(folder))


def _finding(snapshot: Snapshot, status: RunStatus, finished: _Finished | None) -> Iterator[str]:
    """Yield the result in sentences: the cost, the winner, and its gain over the baselines."""
    counts = status.progress
    yield (
        f"{counted(counts.finished, 'trial')} of {counts.trials} finished: {counts.complete} "
        f"complete, {counts.pruned} stopped early, {sum(counts.failed.values())} failed. "
        f"{duration(status.cost.seconds)} of wall time, {duration(status.cost.core_seconds)} of "
        "core time."
    )
    if finished is None:
        if status.best is not None:
            best_yet = status.best
            yield f"Best so far: {best_yet.objective:.4f} on validation, trial {best_yet.trial}."
        yield "The search has not been concluded: there are no results on test queries yet."
        return
    best = finished.summary["best"]
    yield f"The winner is trial {best.get('number')}: {_described(snapshot, best.get('number'))}."
    for role, by_system in finished.comparisons.items():
        where = "held-out queries" if role == "test" else "queries of unseen domains"
        for name in (COSINE, _FIRST_STAGE):
            if name in by_system:
                yield f"On {where} ({by_system[name].n_queries}): {_verdict(name, by_system[name])}"
    yield from map(str, finished.summary.get("notes", ()))


def _verdict(name: str, comparison: Comparison) -> str:
    """Return a comparison with a baseline in a sentence."""
    if comparison.low > 0.0:
        verdict = "better than"
    elif comparison.high < 0.0:
        verdict = "worse than"
    else:
        verdict = "not distinguishable from"
    label = {COSINE: "the cosine", _FIRST_STAGE: "BM25 and the cosine"}[name]
    return (
        f"{verdict} {label}, NDCG@10 {comparison.difference:+.4f} ({comparison.relative:+.1%}), "
        f"95 % interval {comparison.low:+.4f} to {comparison.high:+.4f}."
    )


def _described(snapshot: Snapshot, number_: Any) -> str:
    for trial in snapshot.view:
        if trial.number == number_:
            return describe_trial(trial, snapshot.space)
    return "a trial that is not in the study"


def _quality(finished: _Finished) -> Iterator[Section]:
    comparisons = finished.comparisons
    if finished.scores is None or not comparisons:
        return
    parts: list[Tabular | Chart] = [quality(comparisons)]
    for role, by_system in comparisons.items():
        scores = finished.scores.roles[role]
        rows = [
            (finished.scores.winner, f"{scores.mean(finished.scores.winner):.4f}", "", "", "", "")
        ]
        rows += [
            (
                name,
                f"{scores.mean(name):.4f}",
                f"{one.difference:+.4f}",
                f"{one.relative:+.1%}",
                f"{one.low:+.4f} to {one.high:+.4f}",
                f"{one.p_value:.4f}",
            )
            for name, one in by_system.items()
        ]
        columns = ("system", "NDCG@10", "winner minus", "relative", "95 % interval", "p")
        n_queries = len(scores.domains)
        parts.append(Tabular(f"{role}: {counted(n_queries, 'query')}", columns, tuple(rows)))
        if len(set(scores.domains.values())) > 1:
            parts.append(_domains(role, scores, finished.scores.winner))
    yield Section("Quality on test queries", parts=parts)


def _domains(role: str, scores: RoleScores, winner: str) -> Tabular:
    """Return the winner and the cosine on each domain."""
    names = [name for name in (winner, COSINE, _FIRST_STAGE) if name in scores.systems]
    rows = []
    for domain in sorted(set(scores.domains.values())):
        queries = [query for query, of in scores.domains.items() if of == domain]
        values = [
            sum(scores.systems[name].get(query, 0.0) for query in queries) / len(queries)
            for name in names
        ]
        rows.append((domain, str(len(queries)), *(f"{value:.4f}" for value in values)))
    return Tabular(f"{role}: NDCG@10 by domain", ("domain", "queries", *names), tuple(rows))


def _targets(finished: _Finished) -> Iterator[Section]:
    try:
        results = read_target_records(finished.summary.get("targets", ()))
    except (TypeError, ValueError, KeyError):
        return
    rows = tuple(
        (
            result.name,
            "-" if result.value is None else number(result.value),
            f"{result.rule} {number(result.target)}",
            result.outcome,
            result.formula,
            result.note,
        )
        for result in results
    )
    columns = ("target", "value", "required", "result", "definition", "note")
    if rows:
        table = Tabular("Targets, by the winner", columns, rows, ("result", "definition", "note"))
        yield Section("Targets", parts=[table])


def _leaderboard(snapshot: Snapshot) -> Tabular:
    """Return every trial, best first, failed ones last."""
    names = list(snapshot.space.parameters)
    rows = tuple(
        (
            str(trial.number),
            STATE_NAMES[trial.state],
            _shown(highest(trial)),
            str(last_epoch(trial)),
            f"{attributes.seconds(trial) or 0.0:.0f}",
            f"{attributes.peak_rss_mb(trial) or 0.0:.0f}",
            *(_shown(parameters(trial).get(name)) for name in names),
        )
        for trial in sorted(snapshot.view, key=_order, reverse=True)
    )
    columns = ("trial", "state", "objective", "epochs", "seconds", "MiB", *names)
    return Tabular("Trials by validation objective", columns, rows, ("state", *names))


def _order(trial: FrozenTrial) -> tuple[bool, Any]:
    return trial.state.name != "FAIL", ranking_key(trial)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _worst_queries(finished: _Finished) -> Iterator[Section]:
    """Yield the queries on which the winner loses most to the cosine."""
    if finished.scores is None:
        return
    tables = []
    for role, of_role in finished.scores.roles.items():
        ours, cosine = of_role.systems.get(finished.scores.winner), of_role.systems.get(COSINE)
        if not ours or not cosine:
            continue
        lost = sorted((ours[q] - cosine[q], q) for q in ours if q in cosine and ours[q] < cosine[q])
        rows = tuple(
            (query, f"{ours[query]:.4f}", f"{cosine[query]:.4f}", f"{change:+.4f}")
            for change, query in lost[:_WORST]
        )
        if rows:
            share = f"{len(lost)} of {counted(len(ours), 'query')}"
            title = f"{role}: the largest losses to the cosine, of {share}"
            tables.append(Tabular(title, ("query", "winner", "cosine", "change"), rows))
    if tables:
        yield Section("Worst queries", parts=tables)


def _winner(snapshot: Snapshot, finished: _Finished | None) -> Iterator[Section]:
    """Yield the winner's circuit, its configuration to copy, and the next commands."""
    best = None if finished is None else finished.summary["best"].get("number")
    found = next((trial for trial in snapshot.view if trial.number == best), None)
    if found is None:
        return
    try:
        config = snapshot.space.config_for(parameters(found), snapshot.view.ordinal(found.number))
    except ConfigError:
        return
    run, bundle = snapshot.folder, snapshot.folder / BEST
    commands = [
        pasted("quantum-rerank", "rerank", bundle, *_FILES),
        pasted("quantum-rerank", "evaluate", bundle),
        pasted("quantum-rerank", "resume", run, "--trials", "+20"),
    ]
    parts = [Listing("Next commands", "\n".join(commands))]
    if drawing := _circuit(config):
        parts.append(Listing("Circuit, with the columns of its angles", drawing))
    yield Section("Winner", parts=[*parts, Listing("Configuration", _as_yaml(config))])


def _as_yaml(config: ExperimentConfig) -> str:
    """Return a configuration as a file for `quantum-rerank train --config FILE`."""
    from ruamel.yaml import YAML

    text = StringIO()
    YAML(typ="safe", pure=True).dump(config.model_dump(mode="json"), text)
    return text.getvalue()


def _circuit(config: ExperimentConfig) -> str:
    """Return the drawing of a model's circuit; empty for a model without one."""
    from quantum_rerank.circuits.qnode import draw
    from quantum_rerank.similarity import MODELS

    if config.model not in MODELS or "circuit" not in MODELS[config.model].components:
        return ""
    return draw(config.circuit.ansatz)
