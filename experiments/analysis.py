"""What the results say: means, spreads, and differences paired over queries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from experiments.plan import DEFAULT, FIXED, SEEN, TUNED, TUNED_TWIN, TWIN, UNSEEN
from experiments.results import Result, by_name
from quantum_rerank.evaluation import COSINE, NDCG, Comparison, Scores, holm
from quantum_rerank.reports.runs import Group, TrainingRun
from quantum_rerank.reports.runs import mean_over_domains as over_domains
from quantum_rerank.reports.tables import target_results as group_verdicts
from quantum_rerank.training.targets import TargetResult, as_record

SIGNIFICANT = 0.05
CLASSICAL = (
    TUNED_TWIN,
    TWIN,
    "rbf",
    "linear_projection",
    "low_rank_bilinear",
    "bm25",
    "bm25_cosine",
)
"""Controls without a quantum state, beside the cosine."""

Measured = Mapping[str, Mapping[str, Mapping[int, Scores]]]
"""Collection -> row -> seed -> its scores, in the order of seeds; what failed is not there."""


@dataclass(frozen=True)
class Difference:
    """One row minus another on one collection.

    holm: its p-value among those of all collections.  n_seeds: that both rows have.
    """

    collection: str
    found: Comparison
    holm: float
    n_seeds: int

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


Pairs = Mapping[tuple[str, str], Sequence[Difference]]
"""One row and the other -> what the one minus the other is, by collection."""


def measured(results: Iterable[Result]) -> dict[str, dict[str, dict[int, Scores]]]:
    """See `Measured`."""
    found: dict[str, dict[str, dict[int, Scores]]] = {}
    for rows in by_name(results).values():
        for name, by_seed in rows.items():
            for result in by_seed:
                for collection, scores in result.scores.items():
                    found.setdefault(collection, {}).setdefault(name, {})[result.seed] = scores
    return found


def means(by_seed: Mapping[int, Scores]) -> list[float]:
    """NDCG@10 of each seed."""
    return [scores.metrics[NDCG] for scores in by_seed.values()]


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds; None of a single one."""
    return stdev(values) if len(values) > 1 else None


def averaged(by_seed: Mapping[int, Scores]) -> Scores:
    """Each query's mean over the seeds that tested on it, and the mean of those over domains.

    Where seeds test on different queries, that is not the mean over seeds of `means`.
    """
    values: dict[str, list[float]] = {}
    domains: dict[str, str] = {}
    for scores in by_seed.values():
        domains |= scores.domains
        for query, value in scores.per_query[NDCG].items():
            values.setdefault(query, []).append(value)
    means_by_query = {query: fmean(found) for query, found in values.items()}
    mean = over_domains(means_by_query, domains)
    return Scores({NDCG: mean}, {NDCG: means_by_query}, domains)


def differences(found: Measured, name: str, other: str) -> list[Difference]:
    """One row minus another, wherever both are, with Holm's correction over the collections.

    The interval and the test are over queries, each with its mean over the seeds that both rows
    have: they say nothing of other seeds, whose spread is told beside the means.
    """
    comparisons, n_seeds = dict[str, Comparison](), dict[str, int]()
    for collection, rows in found.items():
        own, others = _seed_by_seed(rows, name, other)
        if own:
            comparisons[collection] = averaged(own).against(averaged(others))
            n_seeds[collection] = len(own)
    adjusted = holm([one.p_value for one in comparisons.values()])
    return [
        Difference(collection, one, p, n_seeds[collection])
        for (collection, one), p in zip(comparisons.items(), adjusted, strict=True)
    ]


def _seed_by_seed(
    rows: Mapping[str, Mapping[int, Scores]], name: str, other: str
) -> tuple[dict[int, Scores], dict[int, Scores]]:
    """Two rows' scores at the seeds that both have."""
    own = _beside(name, rows.get(name, {}), rows.get(other, {}))
    others = _beside(other, rows.get(other, {}), rows.get(name, {}))
    seeds = [seed for seed in own if seed in others]
    return {seed: own[seed] for seed in seeds}, {seed: others[seed] for seed in seeds}


def _beside(
    name: str, own: Mapping[int, Scores], others: Mapping[int, Scores]
) -> Mapping[int, Scores]:
    """A row's scores by seed, to stand beside another's.

    Without chance and measured once, they are the same at every seed that has the same split.
    """
    if name not in FIXED or len(own) != 1:
        return own
    (once,) = own.values()
    return {seed: once for seed, one in others.items() if one.domains.keys() == once.domains.keys()}


def all_pairs(found: Measured) -> dict[tuple[str, str], list[Difference]]:
    """The tuned row minus every other, and what default and the twins are to the cosine."""
    names = dict.fromkeys(name for rows in found.values() for name in rows)
    asked = [(TUNED, COSINE), (TUNED, DEFAULT), *((TUNED, name) for name in CLASSICAL)]
    asked += [(TUNED, name) for name in names if name != TUNED]
    asked += [(name, COSINE) for name in (DEFAULT, TUNED_TWIN, TWIN)]
    pairs = {pair: differences(found, *pair) for pair in dict.fromkeys(asked)}
    return {pair: one for pair, one in pairs.items() if one}


def gains(found: Measured, collection: str, name: str) -> list[float]:
    """Relative gain of each seed over its cosine; nothing where either was not measured."""
    own, cosine = _seed_by_seed(found.get(collection, {}), name, COSINE)
    pairs = zip(means(own), means(cosine), strict=True)
    return [value / baseline - 1.0 for value, baseline in pairs if baseline]


def targets(results: Iterable[Result], name: str) -> dict[str, dict[str, list[TargetResult]]]:
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
            record["model"]: record["objective"],
            COSINE: record["cosine_objective"],
        }
        runs.append(TrainingRun(Path(), {**record, "objective": objective}))
    return Group(by_seed[0].name, tuple(runs))


def as_json(
    results: Sequence[Result],
    found: Measured,
    pairs: Pairs,
    seeds: Sequence[int],
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """The figures of the study; null where something was not measured."""
    asked = (COSINE, "bm25", TWIN, DEFAULT, TUNED)
    return {
        "seeds": list(seeds),
        "collections": {
            collection: {name: _mean(rows.get(name, {})) for name in asked}
            for collection, rows in found.items()
        },
        "icd10": {
            "seen_gain": _mean_gain(found, SEEN, TUNED),
            "unseen_gain": _mean_gain(found, UNSEEN, TUNED),
            "twin_seen_gain": _mean_gain(found, SEEN, TWIN),
            "twin_unseen_gain": _mean_gain(found, UNSEEN, TWIN),
        },
        "every_model": {
            collection: {
                name: {
                    "mean": _mean(by_seed),
                    "sd": spread(means(by_seed)),
                    "seeds": list(by_seed),
                }
                for name, by_seed in rows.items()
            }
            for collection, rows in found.items()
        },
        "differences": [
            {"of": name, "minus": other, "collection": one.collection}
            | {key: _number(value) for key, value in asdict(one.found).items()}
            | {"holm": one.holm, "n_seeds": one.n_seeds}
            for (name, other), by_collection in pairs.items()
            for one in by_collection
        ],
        "targets": {
            name: {
                dataset: {target: as_record(verdicts) for target, verdicts in by_target.items()}
                for dataset, by_target in targets(results, name).items()
            }
            for name in (DEFAULT, TUNED, TUNED_TWIN, TWIN)
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


def _mean(by_seed: Mapping[int, Scores]) -> float | None:
    return fmean(means(by_seed)) if by_seed else None


def _mean_gain(found: Measured, collection: str, name: str) -> float | None:
    of_seeds = gains(found, collection, name)
    return fmean(of_seeds) if of_seeds else None
