"""Tables of a report: seeds, differences between models, targets, and the worst queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev
from typing import Any

from quantum_rerank.evaluation import COSINE, NDCG, Comparison, compare
from quantum_rerank.evaluation.measurements import SeedGains
from quantum_rerank.evaluation.target_table import number
from quantum_rerank.evaluation.targets import (
    TargetResult,
    read_target_records,
    stability,
)
from quantum_rerank.reports.runs import Group, SearchRun, differing, mean_over_domains
from quantum_rerank.reports.tabular import Tabular

TextOf = Callable[[str, str], tuple[str, str]]
"""Function of a domain and a query id: the query's text and its most relevant document's."""

_TEXTS = ("model", "system", "target", "query", "relevant", "differs in", "result", "definition")


def runs_table(groups: Sequence[Group]) -> Tabular:
    """Return a table with a row per training."""
    changed = differing(groups)
    rows = tuple(
        (
            str(run.path),
            run.model,
            str(run.seed),
            str(len(run.record["history"][run.model])),
            str(run.record["best_epoch"][run.model]),
            f"{run.record['fusion_weight'][run.model]:.2f}",
            f"{run.objective(run.model):.4f}",
            ", ".join(f"{key} {value}" for key, value in changed[group.name].items()),
        )
        for group in groups
        for run in group.runs
    )
    columns = ("run", "model", "seed", "epochs", "best", "weight", "objective", "differs in")
    return Tabular("Trainings", columns, rows, _TEXTS)


def seeds_table(group: Group) -> Tabular:
    """Return the spread of every model over seeds: validation objective, and test NDCG@10."""
    measured = {
        ("validation objective", model): [run.objective(model) for run in group.runs]
        for model in group.models
    }
    for role in group.roles:
        domains = group.domains(role)
        measured |= {
            (f"{role} NDCG@10", model): [
                mean_over_domains(run.scores(role, model), domains) for run in group.runs
            ]
            for model in group.models
        }
    rows = []
    for (measure, model), values in measured.items():
        spread = f"{stdev(values):.4f}" if len(values) > 1 else "one seed"
        extremes = (f"{min(values):.4f}", f"{max(values):.4f}")
        rows.append((measure, model, f"{fmean(values):.4f}", spread, *extremes))
    columns = ("measured", "model", "mean", "standard deviation", "lowest", "highest")
    return Tabular(f"{group.name}: {_seeds(group)}", columns, tuple(rows), _TEXTS)


@dataclass(frozen=True)
class Paired:
    """Difference of two models on the same test queries, each query's mean over seeds."""

    model: str
    other: str
    comparison: Comparison


def paired(group: Group, role: str) -> list[Paired]:
    """Return the configured model minus every other, then the others minus cosine."""
    configured, domains = group.runs[0].model, group.domains(role)
    baselines = [model for model in group.models if model != configured]
    pairs = [(configured, baseline) for baseline in baselines]
    if COSINE in baselines:
        pairs += [(model, COSINE) for model in baselines if model != COSINE]
    means = {model: group.mean_scores(role, model) for model in group.models}
    return [Paired(a, b, compare(means[a], means[b], domains)) for a, b in pairs]


def paired_table(group: Group, role: str, pairs: Sequence[Paired]) -> Tabular:
    """Return a table of differences with their signs and intervals.

    Args:
        group: Trainings that the differences are of.
        role: Role of the queries.
        pairs: Differences of that role.
    """
    rows = tuple(
        (
            f"{pair.model} minus {pair.other}",
            f"{pair.comparison.difference:+.4f}",
            f"{pair.comparison.relative:+.1%}",
            f"{pair.comparison.low:+.4f} to {pair.comparison.high:+.4f}",
            f"{pair.comparison.p_value:.4f}",
        )
        for pair in pairs
    )
    n_queries = pairs[0].comparison.n_queries if pairs else 0
    title = (
        f"{group.name}, {role}: NDCG@10, paired over {n_queries} queries, "
        f"each the mean of {_seeds(group)}"
    )
    return Tabular(title, ("models", "difference", "relative", "95 % interval", "p"), rows, _TEXTS)


def target_results(group: Group) -> dict[str, list[TargetResult]]:
    """Return target -> its result for every seed; of stability, the one over all seeds."""
    model = group.runs[0].model
    # Cosine differs between seeds if each seed has its own split.
    gains = tuple(run.objective(model) - run.objective(COSINE) for run in group.runs)
    over_seeds = stability(SeedGains(gains))
    by_name: dict[str, list[TargetResult]] = {}
    for result in chain.from_iterable(
        read_target_records(run.record["targets"]) for run in group.runs
    ):
        by_name.setdefault(result.name, []).append(result)
    by_name[over_seeds.name] = [over_seeds]
    return by_name


def value_range(results: Sequence[TargetResult]) -> str:
    """Return the lowest and the highest value of one target."""
    values = [result.value for result in results if result.value is not None]
    return " to ".join(map(number, sorted({min(values), max(values)}))) if values else "-"


def outcome_counts(results: Sequence[TargetResult]) -> str:
    """Return the number of times that one target has each outcome: `4 pass, 1 fail`."""
    outcomes = [result.outcome for result in results]
    return ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))


def targets_table(group: Group) -> Tabular:
    """Return the values and outcomes of every target over seeds."""
    rows = []
    for name, results in target_results(group).items():
        first = results[0]
        required = f"{first.rule} {number(first.target)}"
        values, outcomes = value_range(results), outcome_counts(results)
        rows.append((name, values, required, outcomes, first.formula))
    columns = ("target", "value", "required", "result", "definition")
    return Tabular(f"{group.name}: targets, by seed", columns, tuple(rows), _TEXTS)


def worst_table(group: Group, role: str, text_of: TextOf, n_worst: int) -> Tabular:
    """Return the queries on which the configured model loses most to cosine.

    Args:
        group: Trainings; scores are means over their seeds.
        role: Role of the queries.
        text_of: Texts of a query and of its most relevant document.
        n_worst: Number of queries.
    """
    model, domains = group.runs[0].model, group.domains(role)
    scores, cosine = group.mean_scores(role, model), group.mean_scores(role, COSINE)
    worst = sorted(scores, key=lambda query: (scores[query] - cosine[query], scores[query], query))
    rows = []
    for query in worst[:n_worst]:
        domain = domains[query]
        text, relevant = text_of(domain, query.removeprefix(f"{domain}/"))
        change = f"{scores[query] - cosine[query]:+.4f}"
        values = (f"{scores[query]:.4f}", f"{cosine[query]:.4f}", change)
        rows.append((query, *values, text, relevant))
    columns = ("id", model, COSINE, "change", "query", "relevant")
    title = f"{group.name}, {role}: the {len(rows)} queries with the largest loss to cosine"
    return Tabular(title, columns, tuple(rows), _TEXTS)


def search_table(search: SearchRun) -> Tabular:
    """Return the tested trials of a search and its baselines, with the spread over seeds."""
    summary = search.summary
    confirmed = {trial["number"]: trial for trial in summary.get("confirmed", ())}
    systems = dict(summary["baselines"])
    for position, trial in enumerate(summary["tested"]):
        systems[f"{'trial' if position else 'best, trial'} {trial['number']}"] = trial
    if default := summary.get("default_config"):
        systems[f"default, trial {default['number']}"] = default
    rows = tuple(
        (name, _ndcg(system, "test"), _ndcg(system, "unseen_test"), _spread(system, confirmed))
        for name, system in systems.items()
    )
    columns = ("system", "test NDCG@10", "unseen_test NDCG@10", "validation over seeds")
    return Tabular(f"Search {summary['name']} in {search.path}", columns, rows, _TEXTS)


def _seeds(group: Group) -> str:
    return "one seed" if len(group.runs) == 1 else f"{len(group.runs)} seeds"


def _ndcg(roles: Mapping[str, Any], role: str) -> str:
    return f"{roles[role][NDCG]:.4f}" if role in roles else "-"


def _spread(system: Mapping[str, Any], confirmed: Mapping[int, Mapping[str, Any]]) -> str:
    trial = confirmed.get(system.get("number", -1))
    if trial is None or not {"mean", "std"} <= trial.keys():
        return "-"
    return f"{trial['mean']:.4f}, standard deviation {trial['std']:.4f}"
