"""What the results say: means, spreads, and differences paired over queries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from quantum_rerank.cli.ended_runs import Group, TrainingRun
from quantum_rerank.cli.result_tables import group_verdicts
from quantum_rerank.evaluation import COSINE, NDCG, Comparison, Scores, holm
from quantum_rerank.study.plan import DEFAULT, TUNED, TWIN
from quantum_rerank.study.results import Result, by_name
from quantum_rerank.training.validators import Verdict, as_record

SIGNIFICANT = 0.05
BASELINES = (COSINE, "bm25", "bm25_cosine")
CLASSICAL = (TWIN, "rbf", "linear_projection", "low_rank_bilinear", "bm25", "bm25_cosine")
"""Controls without a quantum state, beside the cosine."""
SEEN, UNSEEN = "icd10_seen", "icd10_unseen"

Measured = Mapping[str, Mapping[str, Sequence[Scores]]]
"""Collection -> row -> its scores by seed."""


@dataclass(frozen=True)
class Paired:
    """One row minus another on one collection. holm: its p-value among all collections'."""

    collection: str
    found: Comparison
    holm: float

    @property
    def significant(self) -> bool:
        return self.holm < SIGNIFICANT

    @property
    def sign(self) -> str:
        """Which of the two is above, and whether by more than chance."""
        if not self.found.difference:
            return "equal"
        word = "above" if self.found.difference > 0.0 else "below"
        return word if self.significant else f"{word}, not significantly"


def measured(results: Iterable[Result]) -> dict[str, dict[str, list[Scores]]]:
    """See `Measured`; what failed is not among it."""
    found: dict[str, dict[str, list[Scores]]] = {}
    for rows in by_name(results).values():
        for name, by_seed in rows.items():
            for result in by_seed:
                for collection, scores in result.scores.items():
                    found.setdefault(collection, {}).setdefault(name, []).append(scores)
    return found


def means(by_seed: Sequence[Scores]) -> list[float]:
    """NDCG@10 of each seed."""
    return [scores.metrics[NDCG] for scores in by_seed]


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds; None of a single one."""
    return stdev(values) if len(values) > 1 else None


def averaged(by_seed: Sequence[Scores]) -> Scores:
    """Each query's mean over the seeds that tested on it."""
    values: dict[str, list[float]] = {}
    domains: dict[str, str] = {}
    for scores in by_seed:
        domains |= scores.domains
        for query, value in scores.per_query[NDCG].items():
            values.setdefault(query, []).append(value)
    means_by_query = {query: fmean(found) for query, found in values.items()}
    return Scores({NDCG: fmean(means(by_seed))}, {NDCG: means_by_query}, domains)


def paired(found: Measured, name: str, other: str) -> list[Paired]:
    """One row minus another, wherever both are, with Holm's correction over the collections.

    The interval and the test are over queries, each with its mean over seeds: they say
    nothing of other seeds, whose spread is told beside the means.
    """
    comparisons = {
        collection: averaged(rows[name]).against(averaged(rows[other]))
        for collection, rows in found.items()
        if name in rows and other in rows
    }
    adjusted = holm([one.p_value for one in comparisons.values()])
    return [
        Paired(collection, one, p)
        for (collection, one), p in zip(comparisons.items(), adjusted, strict=True)
    ]


def all_pairs(found: Measured) -> dict[tuple[str, str], list[Paired]]:
    """The tuned row minus every other, and what default and twin are to the cosine."""
    names = dict.fromkeys(name for rows in found.values() for name in rows)
    asked = [(TUNED, COSINE), (TUNED, DEFAULT), *((TUNED, name) for name in CLASSICAL)]
    asked += [(TUNED, name) for name in names if name != TUNED]
    asked += [(DEFAULT, COSINE), (TWIN, COSINE)]
    pairs = {pair: paired(found, *pair) for pair in dict.fromkeys(asked)}
    return {pair: one for pair, one in pairs.items() if one}


def gains(found: Measured, collection: str, name: str) -> list[float]:
    """Relative gain over the cosine of each seed; nothing where either was not measured."""
    rows = found.get(collection, {})
    if name not in rows or COSINE not in rows:
        return []
    cosine = fmean(means(rows[COSINE]))
    return [value / cosine - 1.0 for value in means(rows[name])] if cosine else []


def targets(results: Iterable[Result], name: str) -> dict[str, dict[str, list[Verdict]]]:
    """Data set -> target -> verdicts of one row's seeds."""
    return {
        dataset: group_verdicts(_group(rows[name]))
        for dataset, rows in by_name(results).items()
        if name in rows
    }


def _group(by_seed: Sequence[Result]) -> Group:
    """Results as the group of trainings that `analyze_training_results` would make of them."""
    runs = []
    for one in by_seed:
        record = one.record
        objective = {
            record["arm"]: record["objective"],
            COSINE: record["cosine_objective"],
        }
        runs.append(TrainingRun(Path(), {**record, "objective": objective}))
    return Group(by_seed[0].name, tuple(runs))


def as_json(
    results: Sequence[Result],
    found: Measured,
    pairs: Mapping[tuple[str, str], Sequence[Paired]],
    seeds: Sequence[int],
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """The figures of the study; null where something was not measured."""
    asked = (COSINE, "bm25", TWIN, DEFAULT, TUNED)
    return {
        "seeds": list(seeds),
        "collections": {
            collection: {name: _mean(rows.get(name, ())) for name in asked}
            for collection, rows in found.items()
        },
        "icd10": {
            "seen_gain": _mean_gain(found, SEEN, TUNED),
            "unseen_gain": _mean_gain(found, UNSEEN, TUNED),
            "twin_seen_gain": _mean_gain(found, SEEN, TWIN),
            "twin_unseen_gain": _mean_gain(found, UNSEEN, TWIN),
        },
        "every_arm": {
            collection: {
                name: {"mean": _mean(by_seed), "sd": spread(means(by_seed))}
                for name, by_seed in rows.items()
            }
            for collection, rows in found.items()
        },
        "differences": [
            {"of": name, "minus": other, "collection": one.collection}
            | {key: _number(value) for key, value in asdict(one.found).items()}
            | {"holm": one.holm}
            for (name, other), by_collection in pairs.items()
            for one in by_collection
        ],
        "targets": {
            name: {
                dataset: {target: as_record(verdicts) for target, verdicts in by_target.items()}
                for dataset, by_target in targets(results, name).items()
            }
            for name in (DEFAULT, TUNED, TWIN)
        },
        "failed": [
            {"dataset": one.dataset, "row": one.name, "seed": one.seed, "why": one.failed}
            for one in results
            if one.failed
        ],
        "left_out": dict(left_out),
    }


def _number(value: float) -> float | None:
    """A figure as JSON knows it, which has no NaN."""
    return None if math.isnan(value) else value


def _mean(by_seed: Sequence[Scores]) -> float | None:
    return fmean(means(by_seed)) if by_seed else None


def _mean_gain(found: Measured, collection: str, name: str) -> float | None:
    of_seeds = gains(found, collection, name)
    return fmean(of_seeds) if of_seeds else None
