"""Ended runs as tables: seeds, arms with their intervals, targets, and the worst queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from quantum_rerank.cli.ended_runs import Group, SearchRun, differing, over_domains
from quantum_rerank.evaluation import COSINE, NDCG, Comparison, compare
from quantum_rerank.training.validators import Seeds, Verdict, from_record, stability
from quantum_rerank.training.verdict_table import number

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


_TEXTS = ("arm", "system", "target", "query", "relevant", "differs in", "verdict", "what it is")


def runs_table(groups: Sequence[Group]) -> Tabular:
    """A row per training."""
    told = differing(groups)
    rows = tuple(
        (
            str(run.path),
            run.arm,
            str(run.seed),
            str(len(run.record["history"][run.arm])),
            str(run.record["best_epoch"][run.arm]),
            f"{run.record['fusion_weight'][run.arm]:.2f}",
            f"{run.objective(run.arm):.4f}",
            ", ".join(f"{key} {value}" for key, value in told[group.name].items()),
        )
        for group in groups
        for run in group.runs
    )
    columns = ("run", "arm", "seed", "epochs", "best", "weight", "objective", "differs in")
    return Tabular("Trainings", columns, rows)


def seeds_table(group: Group) -> Tabular:
    """The spread of every arm over seeds: validation objective, and NDCG@10 on test queries."""
    measured = {
        ("validation objective", arm): [run.objective(arm) for run in group.runs]
        for arm in group.arms
    }
    for role in group.roles:
        domains = group.domains(role)
        measured |= {
            (f"{role} NDCG@10", arm): [
                over_domains(run.scores(role, arm), domains) for run in group.runs
            ]
            for arm in group.arms
        }
    rows = []
    for (what, arm), values in measured.items():
        spread = f"{stdev(values):.4f}" if len(values) > 1 else "one seed"
        ends = (min(values), max(values))
        rows.append((what, arm, f"{fmean(values):.4f}", spread, *(f"{v:.4f}" for v in ends)))
    columns = ("measured", "arm", "mean", "standard deviation", "lowest", "highest")
    return Tabular(f"{group.name}: {_seeds(group)}", columns, tuple(rows))


@dataclass(frozen=True)
class Paired:
    """One arm minus another on the same test queries, each query's mean over seeds."""

    arm: str
    other: str
    found: Comparison


def paired(group: Group, role: str) -> list[Paired]:
    """The arm that was asked for minus every other, then those minus the cosine."""
    asked, domains = group.runs[0].arm, group.domains(role)
    others = [arm for arm in group.arms if arm != asked]
    pairs = [(asked, other) for other in others]
    if COSINE in others:
        pairs += [(arm, COSINE) for arm in others if arm != COSINE]
    means = {arm: group.mean_scores(role, arm) for arm in group.arms}
    return [Paired(a, b, compare(means[a], means[b], domains)) for a, b in pairs]


def paired_table(group: Group, role: str, pairs: Sequence[Paired]) -> Tabular:
    """Each difference with its sign and interval, whichever way it falls."""
    rows = tuple(
        (
            f"{one.arm} minus {one.other}",
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
    return Tabular(title, ("arms", "difference", "relative", "95 % interval", "p"), rows)


def group_verdicts(group: Group) -> dict[str, list[Verdict]]:
    """Target -> its verdict for every seed, and of stability the one over all of them."""
    arm = group.runs[0].arm
    # Each above its own cosine, which differs where seeds draw their own split.
    gains = tuple(run.objective(arm) - run.objective(COSINE) for run in group.runs)
    over_seeds = stability(Seeds(gains, cosine=0.0))
    by_name: dict[str, list[Verdict]] = {}
    for verdict in chain.from_iterable(from_record(run.record["verdicts"]) for run in group.runs):
        by_name.setdefault(verdict.name, []).append(verdict)
    by_name[over_seeds.name] = [over_seeds]
    return by_name


def ends(verdicts: Sequence[Verdict]) -> str:
    """The lowest and the highest value of one target."""
    known = [verdict.value for verdict in verdicts if verdict.value is not None]
    return " to ".join(map(number, sorted({min(known), max(known)}))) if known else "-"


def outcomes(verdicts: Sequence[Verdict]) -> str:
    """How often one target has each outcome: `4 pass, 1 fail`."""
    found = [verdict.outcome for verdict in verdicts]
    return ", ".join(f"{found.count(one)} {one}" for one in dict.fromkeys(found))


def targets_table(group: Group) -> Tabular:
    """How often each target was passed, failed or not known; stability is that of the group."""
    rows = []
    for name, verdicts in group_verdicts(group).items():
        first = verdicts[0]
        asked = f"{first.rule} {number(first.target)}"
        rows.append((name, ends(verdicts), asked, outcomes(verdicts), first.formula))
    columns = ("target", "value", "asked for", "verdict", "what it is")
    return Tabular(f"{group.name}: targets, by seed", columns, tuple(rows))


def worst_table(group: Group, role: str, text_of: TextOf, n_worst: int) -> Tabular:
    """The queries that the arm that was asked for ranks worst, compared with the cosine."""
    arm, domains = group.runs[0].arm, group.domains(role)
    own, cosine = group.mean_scores(role, arm), group.mean_scores(role, COSINE)
    worst = sorted(own, key=lambda query: (own[query] - cosine[query], own[query], query))
    rows = []
    for query in worst[:n_worst]:
        domain = domains[query]
        text, relevant = text_of(domain, query.removeprefix(f"{domain}/"))
        change = f"{own[query] - cosine[query]:+.4f}"
        rows.append((query, f"{own[query]:.4f}", f"{cosine[query]:.4f}", change, text, relevant))
    columns = ("id", arm, COSINE, "change", "query", "relevant")
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
        (name, *(_ndcg(one, role) for role in ("test", "test_unseen")), _spread(one, confirmed))
        for name, one in systems.items()
    )
    columns = ("system", "test NDCG@10", "test_unseen NDCG@10", "validation over seeds")
    return Tabular(f"Search {summary['name']} in {search.path}", columns, rows)


def _seeds(group: Group) -> str:
    return "one seed" if len(group.runs) == 1 else f"{len(group.runs)} seeds"


def _ndcg(roles: Mapping[str, Any], role: str) -> str:
    return f"{roles[role][NDCG]:.4f}" if role in roles else "-"


def _spread(one: Mapping[str, Any], confirmed: Mapping[int, Mapping[str, Any]]) -> str:
    found = confirmed.get(one.get("number", -1))
    return f"{found['mean']:.4f}, standard deviation {found['std']:.4f}" if found else "-"
