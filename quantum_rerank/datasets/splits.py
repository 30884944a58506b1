"""Which query may be used for what, decided before anything is mined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.errors import DataError


@dataclass(frozen=True)
class Split:
    """Query ids of one collection by role; no query stands in two of them."""

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


def split_by_query(
    collection: Collection, validation_fraction: float, test_fraction: float, seed: int
) -> Split:
    """Split the judged queries of a collection that is trained on.

    Official splits are kept, and those that a source lacks are drawn from the
    others: validation and test from train, train and validation from dev. The same
    seed gives the same split whatever other collections are loaded. Queries whose relevant
    documents are all absent from the corpus can be in the test role alone.

    Raises: DataError if a role would be left without a query.
    """
    official = collection.official
    if "test" in official:
        test, rest = sorted(official["test"]), sorted(official.get("train", ()))
    else:
        pool = _shuffled(sorted(official.get("train", collection.queries)), seed)
        n_test = round(len(pool) * test_fraction)
        test, rest = pool[:n_test], pool[n_test:]
    if official.get("dev") and rest:
        validation, train = sorted(official["dev"]), rest
    else:
        rest = _shuffled(rest or sorted(official.get("dev", ())), seed)
        share = validation_fraction / (1.0 if "test" in official else 1.0 - test_fraction)
        n_validation = round(len(rest) * share)
        validation, train = rest[:n_validation], rest[n_validation:]
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


def repeated_texts(
    collections: Mapping[str, Collection], splits: Mapping[str, Split]
) -> dict[str, dict[str, int]]:
    """Name -> how many of its queries have the text of one in an earlier role, where any do.

    Roles are by id, and a source may have one text under several of them, or two sources the
    same text. Case, and white space around a text, do not count.
    """

    def texts(name: str, role: str) -> list[str]:
        ids = getattr(splits[name], role)
        return [collections[name].queries[query].strip().lower() for query in ids]

    def repeated(name: str) -> dict[str, int]:
        counts = {
            "validation queries with a text that is trained on too": sum(
                text in trained for text in texts(name, "validation")
            ),
            "test queries with a text that is trained or chosen on too": sum(
                text in used for text in texts(name, "test")
            ),
        }
        return {what: count for what, count in counts.items() if count}

    trained = {text for name in splits for text in texts(name, "train")}
    used = trained.union(*(texts(name, "validation") for name in splits))
    return {name: repeated(name) for name in splits}


def _shuffled(ids: Sequence[str], seed: int) -> list[str]:
    order = np.random.default_rng(seed).permutation(len(ids))
    return [ids[position] for position in order]
