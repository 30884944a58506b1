"""Recall of candidates, and warnings if it is low."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantum_rerank.evaluation.query_set import QuerySet

LOW_RECALL = 0.5
"""Recall of candidates below which a warning is given.

Below it, metrics describe the first retrieval rather than the model, because no model can rank
most of the relevant documents.
"""


def candidate_recall(query_sets: Sequence[QuerySet]) -> float:
    """Return the share of a query's relevant documents among its candidates.

    It is an upper bound of the recall of every reranking.

    Args:
        query_sets: At least one query set, with at least one relevant document for each query.

    Returns:
        The mean over all queries.
    """
    relevant = np.concatenate([[len(judged) for judged in q.qrels.values()] for q in query_sets])
    retrieved = np.concatenate([(q.grades > 0).sum(axis=1) for q in query_sets])
    return float((retrieved / relevant).mean())


def recall_warnings(query_sets: Sequence[QuerySet]) -> list[str]:
    """Return a warning for each domain with a recall of candidates below LOW_RECALL.

    Args:
        query_sets: Query sets of any domains.
    """
    domains = dict.fromkeys(queries.domain for queries in query_sets)
    by_domain = [[q for q in query_sets if q.domain == domain] for domain in domains]
    return [_warning(sets) for sets in by_domain if candidate_recall(sets) < LOW_RECALL]


def _warning(query_sets: Sequence[QuerySet]) -> str:
    answered = float(np.concatenate([q.grades.max(axis=1) > 0 for q in query_sets]).mean())
    chance = " Most queries have none: differences between models are largely chance."
    return (
        f"Warning: {query_sets[0].domain}: on average only {candidate_recall(query_sets):.0%} of a "
        "query's relevant documents are among its candidates; no model can rank the others. "
        f"{1.0 - answered:.0%} of the queries have none there and score 0 with every model."
        f"{chance if answered < LOW_RECALL else ''} Raise `data.candidates`, use an encoder that "
        "suits the texts, or judge documents that the cosine finds."
    )
