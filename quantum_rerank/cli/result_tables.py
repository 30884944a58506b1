"""Ended runs as tables: seeds, models with their intervals, targets, and the worst queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from quantum_rerank.cli.ended_runs import Group, SearchRun, differing, over_domains
from quantum_rerank.evaluation import COSINE, NDCG, Comparison, compare
from quantum_rerank.evaluation.measurements import SeedObjectives
from quantum_rerank.evaluation.target_table import number
from quantum_rerank.evaluation.targets import TargetResult, read_target_records, stability

if TYPE_CHECKING:
    from rich.table import Table

TextOf = Callable[[str, str], tuple[str, str]]
"""Domain and query id -> the query's text and its most relevant document's."""


@dataclass(frozen=True)
class Tabular:
    """A table, for a terminal and for a page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def rich(self) -> Table:
        """For a terminal; the first column and texts to the left, numbers to the right."""
        from rich.table import Table

        table = Table(title=self.title, title_justify="left", box=None)
        for position, name in enumerate(self.columns):
            is_text = position == 0 or name in _TEXTS
            table.add_column(name, justify="left" if is_text else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table


_TEXTS = ("model", "system", "target", "query", "relevant", "differs in", "result", "definition")


def runs_table(groups: Sequence[Group]) -> Tabular:
    """A row per training."""
    told = differing(groups)
    rows = tuple(
        (
            str(run.path),
            run.model,
            str(run.seed),
            str(len(run.record["history"][run.model])),
            str(run.record["best_epoch"][run.model]),
            f"{run.record['fusion_weight'][run.model]:.2f}",
            f"{run.objective(run.model):.4f}",
            ", ".join(f"{key} {value}" for key, value in told[group.name].items()),
        )
        for group in groups
        for run in group.runs
    )
    columns = ("run", "model", "seed", "epochs", "best", "weight", "objective", "differs in")
    return Tabular("Trainings", columns, rows)


def seeds_table(group: Group) -> Tabular:
    """The spread of every model over seeds: validation objective, and NDCG@10 on test queries."""
    measured = {
        ("validation objective", model): [run.objective(model) for run in group.runs]
        for model in group.models
    }
    for role in group.roles:
        domains = group.domains(role)
        measured |= {
            (f"{role} NDCG@10", model): [
                over_domains(run.scores(role, model), domains) for run in group.runs
            ]
            for model in group.models
        }
    rows = []
    for (what, model), values in measured.items():
        spread = f"{stdev(values):.4f}" if len(values) > 1 else "one seed"
        ends = (min(values), max(values))
        rows.append((what, model, f"{fmean(values):.4f}", spread, *(f"{v:.4f}" for v in ends)))
    columns = ("measured", "model", "mean", "standard deviation", "lowest", "highest")
    return Tabular(f"{group.name}: {_seeds(group)}", columns, tuple(rows))


@dataclass(frozen=True)
class Paired:
    """One model minus another on the same test queries, each query's mean over seeds."""

    model: str
    other: str
    found: Comparison


def paired(group: Group, role: str) -> list[Paired]:
    """The model that was asked for minus every other, then those minus the cosine."""
    asked, domains = group.runs[0].model, group.domains(role)
    others = [model for model in group.models if model != asked]
    pairs = [(asked, other) for other in others]
    if COSINE in others:
        pairs += [(model, COSINE) for model in others if model != COSINE]
    means = {model: group.mean_scores(role, model) for model in group.models}
    return [Paired(a, b, compare(means[a], means[b], domains)) for a, b in pairs]


def paired_table(group: Group, role: str, pairs: Sequence[Paired]) -> Tabular:
    """Each difference with its sign and interval, whichever way it falls."""
    rows = tuple(
        (
            f"{one.model} minus {one.other}",
            f"{one.found.difference:+.4f}",
            f"{one.found.relative:+.1%}",
            f"{one.found.low:+.4f} to {one.found.high:+.4f}",
            f"{one.found.p_value:.4f}",
        )
        for one in pairs
    )
    n_queries = pairs[0].found.n_queries if pairs else 0
    title = (
        f"{group.name}, {role}: NDCG@10, paired over {n_queries} queries, "
        f"each the mean of {_seeds(group)}"
    )
    return Tabular(title, ("models", "difference", "relative", "95 % interval", "p"), rows)


def group_targets(group: Group) -> dict[str, list[TargetResult]]:
    """Return target -> its result for each seed; stability has one result over all seeds."""
    model = group.runs[0].model
    # Each above its own cosine, which differs where seeds draw their own split.
    gains = tuple(run.objective(model) - run.objective(COSINE) for run in group.runs)
    over_seeds = stability(SeedObjectives(gains, cosine=0.0))
    by_name: dict[str, list[TargetResult]] = {}
    records = chain.from_iterable(run.record["targets"] for run in group.runs)
    for result in read_target_records(list(records)):
        by_name.setdefault(result.name, []).append(result)
    by_name[over_seeds.name] = [over_seeds]
    return by_name


def ends(results: Sequence[TargetResult]) -> str:
    """The lowest and the highest value of one target."""
    known = [result.value for result in results if result.value is not None]
    return " to ".join(map(number, sorted({min(known), max(known)}))) if known else "-"


def outcomes(results: Sequence[TargetResult]) -> str:
    """How often one target has each outcome: `4 pass, 1 fail`."""
    found = [result.outcome for result in results]
    return ", ".join(f"{found.count(one)} {one}" for one in dict.fromkeys(found))


def targets_table(group: Group) -> Tabular:
    """How often each target was passed, failed or not known; stability is that of the group."""
    rows = []
    for name, results in group_targets(group).items():
        first = results[0]
        required = f"{first.rule} {number(first.target)}"
        rows.append((name, ends(results), required, outcomes(results), first.formula))
    columns = ("target", "value", "required", "result", "definition")
    return Tabular(f"{group.name}: targets, by seed", columns, tuple(rows))


def worst_table(group: Group, role: str, text_of: TextOf, n_worst: int) -> Tabular:
    """The queries that the model that was asked for ranks worst, compared with the cosine."""
    model, domains = group.runs[0].model, group.domains(role)
    own, cosine = group.mean_scores(role, model), group.mean_scores(role, COSINE)
    worst = sorted(own, key=lambda query: (own[query] - cosine[query], own[query], query))
    rows = []
    for query in worst[:n_worst]:
        domain = domains[query]
        text, relevant = text_of(domain, query.removeprefix(f"{domain}/"))
        change = f"{own[query] - cosine[query]:+.4f}"
        rows.append((query, f"{own[query]:.4f}", f"{cosine[query]:.4f}", change, text, relevant))
    columns = ("id", model, COSINE, "change", "query", "relevant")
    title = f"{group.name}, {role}: the {len(rows)} queries that lost most against the cosine"
    return Tabular(title, columns, tuple(rows))


def search_table(search: SearchRun) -> Tabular:
    """What a search has exported beside its baselines, with the spread of those confirmed."""
    summary = search.summary
    confirmed = {one["number"]: one for one in summary.get("confirmed", ())}
    systems = dict(summary["baselines"])
    for position, one in enumerate(summary["tested"]):
        systems[f"{'trial' if position else 'best, trial'} {one['number']}"] = one
    if default := summary.get("default_config"):
        systems[f"default, trial {default['number']}"] = default
    rows = tuple(
        (name, *(_ndcg(one, role) for role in ("test", "unseen_test")), _spread(one, confirmed))
        for name, one in systems.items()
    )
    columns = ("system", "test NDCG@10", "unseen_test NDCG@10", "validation over seeds")
    return Tabular(f"Search {summary['name']} in {search.path}", columns, rows)


def _seeds(group: Group) -> str:
    return "one seed" if len(group.runs) == 1 else f"{len(group.runs)} seeds"


def _ndcg(roles: Mapping[str, Any], role: str) -> str:
    return f"{roles[role][NDCG]:.4f}" if role in roles else "-"


def _spread(one: Mapping[str, Any], confirmed: Mapping[int, Mapping[str, Any]]) -> str:
    found = confirmed.get(one.get("number", -1))
    return f"{found['mean']:.4f}, standard deviation {found['std']:.4f}" if found else "-"
