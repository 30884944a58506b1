"""Subsets of the training queries, as if fewer had been judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from quantum_rerank.datasets.splits import Split
from quantum_rerank.errors import DataError


def nested_subset(
    ids: Mapping[str, Sequence[str]], n_queries: int, seed: int
) -> dict[str, tuple[str, ...]]:
    """Draw queries of several collections, in proportion to their sizes.

    Subsets of the same seed are nested: a larger one has all the queries of a smaller one. Every
    collection keeps a query.

    Args:
        ids: Name of a collection -> ids of its queries.
        n_queries: Number of queries in all; at least that of the collections.
        seed: Seed of the order of each collection's queries.

    Returns:
        Name of a collection -> ids in their previous order.

    >>> ids = {"a": ["1", "2", "3", "4"], "b": ["5", "6"]}
    >>> [len(subset) for subset in nested_subset(ids, 3, seed=0).values()]
    [2, 1]
    """
    order = []
    for number, of_collection in enumerate(ids.values()):
        shuffled = np.random.default_rng([seed, number]).permutation(len(of_collection))
        for rank, position in enumerate(shuffled):
            share = (rank + 0.5) / len(of_collection) if rank else 0.0
            order.append((share, number, int(position)))
    drawn = {(number, position) for _, number, position in sorted(order)[:n_queries]}
    return {
        name: tuple(
            query for position, query in enumerate(of_collection) if (number, position) in drawn
        )
        for number, (name, of_collection) in enumerate(ids.items())
    }


def with_fewer_queries(
    splits: Mapping[str, Split], n_train: int, seed: int, cut_validation: bool
) -> dict[str, Split]:
    """Limit the training queries of a run, and its validation queries if asked for.

    Args:
        splits: Name of a collection -> its split; without training queries it is not trained on.
        n_train: Number of training queries of all collections together.
        seed: Seed of the choice, see `nested_subset`.
        cut_validation: Whether validation queries are cut in the same proportion, those of
            collections that are not trained on by themselves. A collection keeps at least one.

    Raises:
        DataError: There are fewer training queries, or fewer than one for each collection.
    """
    train = {name: split.train for name, split in splits.items() if split.train}
    n_available = sum(map(len, train.values()))
    if not len(train) <= n_train <= n_available:
        collections = "collection" if len(train) == 1 else f"{len(train)} collections"
        raise DataError(
            f"`data.train_queries` is {n_train}, but must be from {len(train)} to {n_available}, "
            f"the number of training queries of the {collections}."
        )
    fewer = dict(splits)
    for name, queries in nested_subset(train, n_train, seed).items():
        fewer[name] = replace(fewer[name], train=queries)
    if not cut_validation:
        return fewer
    for is_seen in (True, False):
        validation = {
            name: split.validation
            for name, split in splits.items()
            if split.validation and (name in train) == is_seen
        }
        n_validation = round(sum(map(len, validation.values())) * n_train / n_available)
        subset = nested_subset(validation, max(n_validation, len(validation)), seed)
        for name, queries in subset.items():
            fewer[name] = replace(fewer[name], validation=queries)
    return fewer
