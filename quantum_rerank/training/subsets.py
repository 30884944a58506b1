"""Trainings with some of the training queries, chosen and tested on the same others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quantum_rerank.datasets import nested_subset
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.query_sets import select_queries
from quantum_rerank.training.trial_data import TrialData


def with_train_queries(data: TrialData, n_queries: int, seed: int) -> TrialData:
    """Return the data with some of its training queries.

    Args:
        data: Data of a run.
        n_queries: Number of training queries of all domains together.
        seed: Seed of the choice. Subsets of the same seed are nested, see `nested_subset`.
    """
    return replace(data, train=some_queries(data.train, n_queries, seed))


def some_queries(query_sets: Sequence[QuerySet], n_queries: int, seed: int) -> tuple[QuerySet, ...]:
    """Return some queries of several query sets, in proportion to their sizes.

    Args:
        query_sets: Query sets of different domains.
        n_queries: Number of queries of all domains together, at least one of each.
        seed: Seed of the choice, see `nested_subset`.
    """
    ids = {queries.domain: queries.query_ids for queries in query_sets}
    chosen = nested_subset(ids, n_queries, seed)
    return tuple(select_queries(queries, chosen[queries.domain]) for queries in query_sets)
