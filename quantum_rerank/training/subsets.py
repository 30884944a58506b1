"""Trainings with some of the training queries, chosen and tested on the same others."""

from __future__ import annotations

from dataclasses import replace

from quantum_rerank.datasets import nested_subset
from quantum_rerank.training.query_sets import select_queries
from quantum_rerank.training.trial_data import TrialData


def with_train_queries(data: TrialData, n_queries: int, seed: int) -> TrialData:
    """Return the data with some of its training queries.

    Args:
        data: Data of a run.
        n_queries: Number of training queries of all domains together.
        seed: Seed of the choice. Subsets of the same seed are nested, see `nested_subset`.
    """
    ids = {queries.domain: queries.query_ids for queries in data.train}
    chosen = nested_subset(ids, n_queries, seed)
    train = tuple(select_queries(queries, chosen[queries.domain]) for queries in data.train)
    return replace(data, train=train)
