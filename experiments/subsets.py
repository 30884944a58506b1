"""Nested parts of a data set's training queries, with validation queries in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.query_sets import select_queries
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
    train, validation = (
        sum(len(queries.query_ids) for queries in role)
        for role in (trial.train, trial.validation_in_domain)
    )
    if n_queries > train:
        raise ConfigError(
            f"{n_queries:,} training queries were asked for, but the data have {train:,}. Ask for "
            "fewer, or add collections."
        )
    n_validation = max(round(validation * n_queries / train), len(trial.validation_in_domain))
    rng = np.random.default_rng(seed)
    parts = {
        "train": _first(trial.train, n_queries, rng),
        "validation": _first(trial.validation_in_domain, n_validation, rng),
    }
    splits = {domain: dict(split) for domain, split in prepared.splits.items()}
    for role, query_sets in parts.items():
        for queries in query_sets:
            splits[queries.domain][role] = queries.query_ids
    smaller = replace(trial, train=parts["train"], validation_in_domain=parts["validation"])
    return replace(prepared, trial=smaller, splits=splits)


def _first(
    query_sets: Sequence[QuerySet], n: int, rng: np.random.Generator
) -> tuple[QuerySet, ...]:
    """Return the first n queries of an order in which domains alternate as their sizes do."""
    shuffled = [rng.permutation(len(queries.query_ids)) for queries in query_sets]
    places = [
        ((place + 0.5) / len(rows), domain, row)
        for domain, rows in enumerate(shuffled)
        for place, row in enumerate(rows)
    ]
    chosen = sorted(places)[:n]
    parts = []
    for number, queries in enumerate(query_sets):
        ids = [queries.query_ids[row] for _, domain, row in chosen if domain == number]
        if not ids:
            raise ConfigError(
                f"Of {n} queries none is of {queries.domain}, but a training needs training and "
                "validation queries of each domain. Ask for more training queries."
            )
        parts.append(select_queries(queries, sorted(ids)))
    return tuple(parts)
