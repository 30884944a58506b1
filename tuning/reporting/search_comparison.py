"""Comparison of searches: progress at equal budget, parameters, importances, winners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.errors import ConfigError, DataError, OutputError
from quantum_rerank.evaluation import Comparison, compare
from quantum_rerank.evaluation.comparison import holm
from quantum_rerank.reports.page import COLORS, Chart, Section, new_figure, plain, write_page
from quantum_rerank.reports.tabular import Tabular
from tuning.reporting.descriptions import duration
from tuning.reporting.run_status import RunStatus, run_status
from tuning.reporting.search_charts import importances
from tuning.reporting.search_scores import SearchScores, read_scores
from tuning.reporting.snapshot import Snapshot, read_snapshot
from tuning.study import attributes
from tuning.study.trials import highest, parameters

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the smallest search, at which all are compared


@dataclass(frozen=True)
class Progress:
    """Best objective of a search after one of its trials.

    Attributes:
        trials: Number of trials that had ended by then.
        core_seconds: Seconds of these trials on a core each.
        wall_seconds: Seconds since the first trial began.
        best: Best validation objective so far.
    """

    trials: int
    core_seconds: float
    wall_seconds: float
    best: float


@dataclass(frozen=True)
class ComparedSearch:
    """One of several searches that are compared.

    Attributes:
        name: Name under which it is shown.
        snapshot: Contents of its folder.
        scores: Scores on test queries; None before its conclusion.
    """

    name: str
    snapshot: Snapshot
    scores: SearchScores | None

    @cached_property
    def status(self) -> RunStatus:
        """Status of the run."""
        return run_status(self.snapshot)

    @cached_property
    def progress(self) -> list[Progress]:
        """Progress after each trial that has ended, in the order of time."""
        ended = [trial for trial in self.snapshot.view if trial.datetime_complete]
        ended.sort(key=lambda trial: (str(trial.datetime_complete), trial.number))
        starts = [trial.datetime_start for trial in ended if trial.datetime_start]
        found, core, best = list[Progress](), 0.0, float("-inf")
        for number, trial in enumerate(ended, start=1):
            core += attributes.seconds(trial) or 0.0
            best = max(best, highest(trial) or float("-inf"))
            assert trial.datetime_complete is not None  # those without are left out
            wall = (trial.datetime_complete - min(starts)).total_seconds() if starts else 0.0
            if best > float("-inf"):
                found.append(Progress(number, core, wall, best))
        return found

    @cached_property
    def winner(self) -> FrozenTrial | None:
        """Trial with the best validation objective."""
        return max(_valued(self), key=lambda t: (highest(t), -t.number), default=None)

    @cached_property
    def configuration(self) -> ExperimentConfig | None:
        """Configuration of the winner."""
        if self.winner is None:
            return None
        view, space = self.snapshot.view, self.snapshot.space
        try:
            return space.config_for(parameters(self.winner), view.ordinal(self.winner.number))
        except ConfigError:  # of another version
            return None


def read_searches(folders: Sequence[Path]) -> list[ComparedSearch]:
    """Read searches, live or over.

    Args:
        folders: Folders of the searches.

    Raises:
        DataError: Some folders hold no search; the message names all of them.
    """
    names = [folder.resolve().name for folder in folders]
    shown = [n if names.count(n) == 1 else str(f) for n, f in zip(names, folders, strict=True)]
    searches, problems = list[ComparedSearch](), list[str]()
    for name, folder in zip(shown, folders, strict=True):
        try:
            searches.append(ComparedSearch(name, read_snapshot(folder), read_scores(folder)))
        except OutputError as error:
            problems.append(str(error))
    if problems:
        raise DataError(problems)
    return searches


def comparison_tables(searches: Sequence[ComparedSearch]) -> Iterator[Tabular]:
    """Yield the tables of a comparison, those that have rows."""
    tables = (
        overview(searches),
        at_equal_budget(searches),
        winners(searches),
        parameters_that_differ(searches),
        importance_table(searches),
    )
    yield from (table for table in tables if table.rows)


def overview(searches: Sequence[ComparedSearch]) -> Tabular:
    """Return a row per search: its trials, cost, best objective and algorithms."""
    rows = tuple(
        (
            search.name,
            search.status.life.state,
            f"{search.status.progress.finished}/{search.status.progress.trials}",
            duration(search.status.cost.core_seconds),
            duration(search.status.cost.seconds),
            "-" if not search.progress else f"{search.progress[-1].best:.4f}",
            search.snapshot.space.header.sampler.name,
            search.snapshot.space.header.scheduler.name,
        )
        for search in searches
    )
    columns = ("search", "state", "trials", "core time", "time", "best", "sampler", "scheduler")
    return Tabular("Searches", columns, rows, ("state", "sampler", "scheduler"))


def at_equal_budget(searches: Sequence[ComparedSearch]) -> Tabular:
    """Return the best objective of every search after the same core time."""
    with_progress = [search for search in searches if search.progress]
    if len(with_progress) < 2:
        return Tabular("", (), ())
    least = min(search.progress[-1].core_seconds for search in with_progress)
    rows = []
    for share in _SHARES:
        budget = share * least
        reached = [_best_within(search, budget) for search in with_progress]
        rows.append((duration(budget), *("-" if b is None else f"{b:.4f}" for b in reached)))
    columns = ("core time", *(search.name for search in with_progress))
    return Tabular("Best validation objective after the same core time", columns, tuple(rows))


def _best_within(search: ComparedSearch, core_seconds: float) -> float | None:
    within = [p.best for p in search.progress if p.core_seconds <= core_seconds + 1e-9]
    return within[-1] if within else None


def parameters_that_differ(searches: Sequence[ComparedSearch]) -> Tabular:
    """Return the keys in which the configurations of the best trials differ."""
    having = [(s, flat(s.configuration)) for s in searches if s.configuration is not None]
    keys = sorted({key for _, config in having for key in config if key != "seed"})
    rows = tuple(
        (key, *values)
        for key in keys
        if len(set(values := [str(config.get(key, "-")) for _, config in having])) > 1
    )
    names = [search.name for search, _ in having]
    return Tabular("Best trials: keys that differ", ("key", *names), rows, names)


def importance_table(searches: Sequence[ComparedSearch]) -> Tabular:
    """Return the importances of parameters side by side."""
    shares = {s.name: importances(_valued(s), s.snapshot.space) for s in searches if _valued(s)}
    keys = sorted(
        {key for of_search in shares.values() for key in of_search},
        key=lambda key: -max(of.get(key, 0.0) for of in shares.values()),
    )
    rows = tuple(
        (key, *(f"{of[key]:.3f}" if key in of else "-" for of in shares.values())) for key in keys
    )
    return Tabular("Importance of the parameters (fANOVA)", ("parameter", *shares), rows)


def _valued(search: ComparedSearch) -> list[FrozenTrial]:
    return [trial for trial in search.snapshot.view if highest(trial) is not None]


@dataclass(frozen=True)
class WinnersCompared:
    """Winners of two searches on the test queries that both have."""

    role: str
    left: str
    right: str
    comparison: Comparison
    adjusted_p: float


def compare_winners(searches: Sequence[ComparedSearch]) -> list[WinnersCompared]:
    """Compare the winners of all pairs of searches, paired over their common test queries.

    The p-values are corrected by Holm's method over all pairs and roles.

    Args:
        searches: Searches; those without scores are left out.
    """
    scored = [(search.name, search.scores) for search in searches if search.scores is not None]
    found: list[tuple[str, str, str, Comparison]] = []
    for (left, ours), (right, theirs) in combinations(scored, 2):
        for role in ours.roles:
            values, others = ours.of_winner(role), theirs.of_winner(role)
            domains = ours.roles[role].domains
            common = values.keys() & others.keys() & domains.keys()
            if common:
                ours_common = {query: values[query] for query in sorted(common)}
                comparison = compare(ours_common, others, domains)
                found.append((role, left, right, comparison))
    adjusted = holm([comparison.p_value for *_, comparison in found])
    return [WinnersCompared(*one, p) for one, p in zip(found, adjusted, strict=True)]


def winners(searches: Sequence[ComparedSearch]) -> Tabular:
    """Return the differences of the winners on test queries."""
    rows = tuple(
        (
            f"{one.left} minus {one.right}",
            one.role,
            str(one.comparison.n_queries),
            f"{one.comparison.difference:+.4f}",
            f"{one.comparison.low:+.4f} to {one.comparison.high:+.4f}",
            f"{one.comparison.p_value:.4f}",
            f"{one.adjusted_p:.4f}",
        )
        for one in compare_winners(searches)
    )
    columns = ("winners", "role", "queries", "NDCG@10", "95 % interval", "p", "p, Holm")
    return Tabular("Winners on the same test queries, paired", columns, rows, ("role",))


def progress_charts(searches: Sequence[ComparedSearch]) -> Iterator[Chart]:
    """Yield the best objective so far over trials, core time and wall time."""
    axes = {"trials": "trials", "core_seconds": "core seconds", "wall_seconds": "seconds"}
    for attribute, label in axes.items():
        figure = new_figure(f"Best objective by {label}", label, "validation objective")
        for position, search in enumerate(searches):
            figure.add_scatter(
                x=[getattr(point, attribute) for point in search.progress],
                y=[point.best for point in search.progress],
                mode="lines+markers",
                line={"shape": "hv", "color": COLORS[position % len(COLORS)]},
                marker={"symbol": position % 8, "size": 6},
                name=plain(search.name),
            )
        yield Chart(figure, f"Best validation objective of every search so far, by {label}.")


def progress_rows(searches: Sequence[ComparedSearch]) -> list[dict[str, Any]]:
    """Return the progress of all searches as rows of one table."""
    return [
        {"search": search.name, **asdict(point)} for search in searches for point in search.progress
    ]


def write_comparison(path: Path, searches: Sequence[ComparedSearch]) -> None:
    """Write a comparison as a page.

    Args:
        path: File to write.
        searches: Searches.

    Raises:
        OutputError: The file cannot be written.
        MissingPackage: plotly or jinja2 is not installed.
    """
    tables = list(comparison_tables(searches))
    sections = [
        Section("Comparison", parts=tables),
        Section("Progress", parts=list(progress_charts(searches))),
    ]
    write_page(path, f"Comparison of {len(searches)} searches", sections)
