"""Collections of a run: loaded, checked, split by query and identified by a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import (
    Collection,
    Split,
    load_collection,
    repeated_texts,
    require_ranking,
    split_by_query,
    with_copies_judged,
    with_fewer_queries,
    without_own_documents,
)
from quantum_rerank.errors import DataError, QuantumRerankError


@dataclass(frozen=True)
class SplitCollections:
    """The collections of a run with the role of each query.

    Attributes:
        collections: Spec -> collection.
        splits: Spec -> query ids by role.
        fingerprint: SHA-256 of texts, judgments and splits, see `PreparedData`.
    """

    collections: Mapping[str, Collection]
    splits: Mapping[str, Split]
    fingerprint: str


def split_collections(config: DataConfig) -> SplitCollections:
    """Load, check and split the collections of a run, without embedding them.

    Args:
        config: Names of the collections and the sizes of the splits.

    Raises:
        DataError: A collection is missing or has nothing to rank, two have the same name, or
            there are fewer training queries than configured.
    """
    specs = (*config.seen, *config.unseen_validation, *config.unseen_test)
    repeated = _repeated(specs)
    if repeated:
        raise DataError(f"{', '.join(repeated)}: named twice, but a collection has one role.")
    collections = _load_all(specs, config)
    shared = _repeated([collection.domain for collection in collections.values()])
    if shared:
        raise DataError(
            f"{', '.join(shared)}: two collections of this name. A collection has one role, "
            "and folders need different names."
        )
    splits = _split(config, collections)
    for spec, counts in repeated_texts(collections, splits).items():
        skipped = {**collections[spec].skipped, **counts}
        collections[spec] = replace(collections[spec], skipped=skipped)
    return SplitCollections(collections, splits, _fingerprint(config, collections, splits))


def load_judged(spec: str, config: DataConfig) -> Collection:
    """Load a collection and apply the configured rules for copies and own documents.

    Args:
        spec: Name of the collection, such as `beir:FOLDER`.
        config: Rules for documents with the same text, and for documents that are a query.
    """
    collection = with_copies_judged(load_collection(spec, config), config.judge_copies_alike)
    return without_own_documents(collection, config.ignore_identical)


def split_of(collection: Collection, config: DataConfig) -> Split:
    """Split the queries of a collection that is trained on.

    Args:
        collection: A checked collection.
        config: Sizes and seeds of the split.

    Raises:
        DataError: A role would have no query.
    """
    return split_by_query(
        collection,
        config.validation_split,
        config.test_split,
        config.split_seed,
        config.validation_seed,
    )


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _load_all(specs: Sequence[str], config: DataConfig) -> dict[str, Collection]:
    """Load collections, and raise the errors of all of them together."""
    collections: dict[str, Collection] = {}
    errors: list[QuantumRerankError] = []
    for spec in specs:
        try:
            collections[spec] = load_judged(spec, config)
            require_ranking(collections[spec])
        except QuantumRerankError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DataError([line for error in errors for line in str(error).splitlines()])
    return collections


def _split(config: DataConfig, collections: Mapping[str, Collection]) -> dict[str, Split]:
    """Split the `seen` collections; every other collection has one role."""
    splits = {spec: split_of(collections[spec], config) for spec in config.seen}
    query_ids = {spec: tuple(sorted(c.queries)) for spec, c in collections.items()}
    splits |= {
        spec: Split(validation=tuple(collections[spec].answerable(query_ids[spec])))
        for spec in config.unseen_validation
    }
    splits |= {spec: Split(test=query_ids[spec]) for spec in config.unseen_test}
    if config.train_queries is None:
        return splits
    return with_fewer_queries(
        splits, config.train_queries, config.train_queries_seed, config.cut_validation
    )


def _fingerprint(
    config: DataConfig, collections: Mapping[str, Collection], splits: Mapping[str, Split]
) -> str:
    digest = hashlib.sha256()
    for spec, collection in collections.items():
        content: list[Any] = [
            collection.domain,
            dict(collection.corpus),
            dict(collection.queries),
            {query: dict(judged) for query, judged in collection.qrels.items()},
            vars(splits[spec]),
        ]
        for pairs in (collection.own_documents, collection.not_relevant, collection.absent):
            if pairs:  # so that a collection without such pairs keeps its fingerprint
                content.append({query: list(named) for query, named in pairs.items()})
        if config.encoder.startswith("npy:"):  # its rows are in this order, which is sorted away
            content += [list(collection.corpus), list(collection.queries)]
        # Piece by piece: as one text, a large corpus would be in memory twice more.
        for piece in json.JSONEncoder(sort_keys=True).iterencode(content):
            digest.update(piece.encode())
    return digest.hexdigest()
