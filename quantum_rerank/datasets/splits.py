"""Splits of queries into training, validation and test, made before negatives are mined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.errors import DataError


@dataclass(frozen=True)
class Split:
    """Query ids of a collection by role. No query has two roles."""

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


def split_by_query(
    collection: Collection,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    validation_seed: int | None = None,
) -> Split:
    """Split the judged queries of a collection that is trained on.

    Official splits are kept. Missing ones are drawn from the others: validation and test from
    train, train and validation from dev. The same seed gives the same split, regardless of other
    collections. Queries whose relevant documents are all missing from the corpus can only be test
    queries.

    Args:
        collection: A checked collection.
        validation_fraction: Share of validation queries of all queries, from 0 to 1.
        test_fraction: Share of test queries of all queries, from 0 to 1.
        seed: Seed of the permutation of queries.
        validation_seed: Seed of the division of all queries but those of test into train and
            validation, an official one included. None: an official division is kept, another
            one has `seed`.

    Raises:
        DataError: A role would have no query.
    """
    train, validation, test = _roles(
        collection, validation_fraction, test_fraction, seed, validation_seed
    )
    train, validation = collection.answerable(train), collection.answerable(validation)
    split = Split(tuple(train), tuple(validation), tuple(test))
    empty = [role for role in ("train", "validation", "test") if not getattr(split, role)]
    if empty:
        raise DataError(
            f"{collection.domain}: {len(collection.queries)} judged queries leave none for "
            f"{' and '.join(empty)} (validation_split {validation_fraction}, test_split "
            f"{test_fraction}). Give more queries or other fractions, or name it among the "
            "unseen collections, which are not split."
        )
    return split


def _roles(
    collection: Collection,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    validation_seed: int | None,
) -> tuple[list[str], list[str], list[str]]:
    """Return the queries of training, validation and test."""
    official = collection.official
    if "test" in official:
        test, rest = sorted(official["test"]), sorted(official.get("train", ()))
    else:
        pool = _shuffled(sorted(official.get("train", collection.queries)), seed)
        n_test = round(len(pool) * test_fraction)
        test, rest = pool[:n_test], pool[n_test:]
    if official.get("dev") and rest:
        validation, train = sorted(official["dev"]), rest
        if validation_seed is not None:
            n_validation = len(validation)
            rest = _shuffled(sorted([*rest, *validation]), validation_seed)
            validation, train = rest[:n_validation], rest[n_validation:]
    else:
        rest = rest or sorted(official.get("dev", ()))
        rest = _shuffled(rest, seed if validation_seed is None else validation_seed)
        share = validation_fraction / (1.0 if "test" in official else 1.0 - test_fraction)
        n_validation = round(len(rest) * share)
        validation, train = rest[:n_validation], rest[n_validation:]
    return train, validation, test


def repeated_texts(
    collections: Mapping[str, Collection], splits: Mapping[str, Split]
) -> dict[str, dict[str, int]]:
    """Count the queries with the text of a query in an earlier role.

    Roles are assigned to ids, but a source may have a text under several ids, and two sources may
    have the same text. Case, and white space around a text, are ignored.

    Args:
        collections: Name -> collection.
        splits: Name -> split of the collection.

    Returns:
        Name -> sentence -> count, without counts of 0.
    """

    def texts(name: str, role: str) -> list[str]:
        ids = getattr(splits[name], role)
        return [collections[name].queries[query].strip().lower() for query in ids]

    def counts_of(name: str) -> dict[str, int]:
        counts = {
            "validation queries with a text that is trained on too": sum(
                text in trained for text in texts(name, "validation")
            ),
            "test queries with a text that is trained or chosen on too": sum(
                text in used for text in texts(name, "test")
            ),
        }
        return {sentence: count for sentence, count in counts.items() if count}

    trained = {text for name in splits for text in texts(name, "train")}
    used = trained.union(*(texts(name, "validation") for name in splits))
    return {name: counts_of(name) for name in splits}


def _shuffled(ids: Sequence[str], seed: int) -> list[str]:
    order = np.random.default_rng(seed).permutation(len(ids))
    return [ids[position] for position in order]
