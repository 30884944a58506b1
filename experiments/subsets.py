"""Nested parts of a data set's training queries, with validation queries in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.subsets import some_queries
from quantum_rerank.training.trial_data import PreparedData


def reduced(prepared: PreparedData, n_queries: int, seed: int) -> PreparedData:
    """Return data with fewer training queries, and validation queries in proportion.

    The queries of a smaller number are among those of a larger one with the same seed. Each
    domain keeps its share. Test queries and domains of validation alone stay as they are.

    Args:
        prepared: The data.
        n_queries: The number of training queries.
        seed: The seed that draws the queries.

    Raises:
        ConfigError: There are fewer training queries, or a domain would be left without any.
    """
    trial = prepared.trial
    n_train = prepared.n_train
    if n_queries > n_train:
        raise ConfigError(
            f"{n_queries:,} training queries were asked for, but the data have {n_train:,}. Ask "
            "for fewer, or add collections."
        )
    validation = sum(len(queries.query_ids) for queries in trial.validation_in_domain)
    n_validation = max(round(validation * n_queries / n_train), len(trial.validation_in_domain))
    parts = {
        "train": _part(trial.train, n_queries, seed),
        "validation": _part(trial.validation_in_domain, n_validation, seed),
    }
    splits = {domain: dict(split) for domain, split in prepared.splits.items()}
    for role, query_sets in parts.items():
        for queries in query_sets:
            splits[queries.domain][role] = queries.query_ids
    smaller = replace(trial, train=parts["train"], validation_in_domain=parts["validation"])
    return replace(prepared, trial=smaller, splits=splits)


def _part(query_sets: Sequence[QuerySet], n: int, seed: int) -> tuple[QuerySet, ...]:
    """Return n queries of some query sets.

    Raises:
        ConfigError: A domain would be left without any.
    """
    if n < len(query_sets):
        raise ConfigError(
            f"Of {n} queries none is of {query_sets[n].domain}, but a training needs training and "
            "validation queries of each domain. Ask for more training queries."
        )
    return some_queries(query_sets, n, seed)
