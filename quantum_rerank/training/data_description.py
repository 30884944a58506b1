"""Description of a run's data: sizes, judgments, skipped texts and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantum_rerank.datasets import count_lines
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.recall import candidate_recall, recall_warnings
from quantum_rerank.training.run_collections import SplitCollections
from quantum_rerank.training.trial_data import PreparedData, TrialData


def describe(prepared: PreparedData) -> list[str]:
    """Return a line for each domain, then lines for skipped texts and warnings.

    Args:
        prepared: The data of a run.
    """
    lines = [_line(row) for row in statistics(prepared)]
    return lines + describe_skipped(prepared.skipped) + recall_warnings(_of_trial(prepared.trial))


def describe_collections(loaded: SplitCollections) -> list[str]:
    """Return a line for each domain, then lines for skipped texts, before they are embedded.

    Args:
        loaded: Collections of a run.
    """
    collections = loaded.collections
    rows = [
        {"domain": collections[spec].domain, "documents": len(collections[spec].corpus)}
        | {role: len(ids) for role, ids in vars(split).items()}
        for spec, split in loaded.splits.items()
    ]
    skipped = {collection.domain: collection.skipped for collection in collections.values()}
    return [*map(_line, rows), *describe_skipped(skipped)]


def describe_skipped(skipped: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a sentence for each kind of skipped or changed texts of each domain.

    Args:
        skipped: Domain -> kind -> count.
    """
    return [
        f"{domain}: {line}" for domain, counts in skipped.items() for line in count_lines(counts)
    ]


def statistics(prepared: PreparedData) -> list[dict[str, Any]]:
    """Return a row for each domain: documents, queries by role, and `judgment_statistics`.

    Judgments of test queries are not included.

    Args:
        prepared: The data of a run.
    """
    trial = _of_trial(prepared.trial)
    sizes = {q.domain: len(q.documents) for q in (*trial, *prepared.unseen_test)}
    return [
        {"domain": domain, "documents": sizes[domain]}
        | {role: len(ids) for role, ids in roles.items()}
        | judgment_statistics([queries for queries in trial if queries.domain == domain])
        for domain, roles in prepared.splits.items()
    ]


def judgment_statistics(query_sets: Sequence[QuerySet]) -> dict[str, float]:
    """Return statistics of the judgments of one domain.

    Args:
        query_sets: Query sets of the domain.

    Returns:
        `relevant per query`: mean number of relevant documents. `graded`: share of queries with
        relevant documents of different grades, which only listwise losses distinguish. `recall
        of candidates`: see `candidate_recall`. `judged not relevant`: documents per query, if
        there are any. Empty if there are no query sets.
    """
    if not query_sets:
        return {}
    n_relevant = [len(judged) for q in query_sets for judged in q.qrels.values()]
    graded = [len(set(judged.values())) > 1 for q in query_sets for judged in q.qrels.values()]
    n_rejected = sum(len(rows) for q in query_sets for rows in q.not_relevant)
    return {
        "relevant per query": float(np.mean(n_relevant)),
        "graded": float(np.mean(graded)),
        "recall of candidates": candidate_recall(query_sets),
    } | ({"judged not relevant": n_rejected / len(n_relevant)} if n_rejected else {})


def _line(row: Mapping[str, Any]) -> str:
    return "  ".join(f"{key} {_shown(value)}" for key, value in row.items() if value)


def _of_trial(data: TrialData) -> tuple[QuerySet, ...]:
    return (*data.train, *data.validation)


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
