"""Collections for the evaluation of a trained model, by the role of their queries."""

from __future__ import annotations

from collections.abc import Sequence

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import (
    Collection,
    Split,
    domain_of,
    require_ranking,
)
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.roles import (
    ROLES,
    TEST,
    TRAIN,
    UNSEEN_TEST,
    UNSEEN_VALIDATION,
    VALIDATION,
)
from quantum_rerank.training.data_manager import count_unread
from quantum_rerank.training.query_sets import build_query_set, lexical_index
from quantum_rerank.training.run_collections import load_judged, split_collections, split_of

_CONFIG_KEYS = ("seen", "unseen_validation", "unseen_test")


def includes_training_data(config: DataConfig, specs: Sequence[str]) -> bool:
    """Return True if one of some collections is trained on, even if its folder was moved.

    Args:
        config: Data of the training.
        specs: Names of collections, such as `beir:FOLDER`.
    """
    return any(_is_among(spec, domain_of(spec), config.seen) for spec in specs)


def with_moved_folders(config: DataConfig, specs: Sequence[str]) -> DataConfig:
    """Return a configuration with the current folders of its collections.

    Args:
        config: Data of a training.
        specs: Collections with their current folders. Those that are not in the configuration
            are ignored.
    """
    current = {domain_of(spec): spec for spec in specs}
    moved = {
        key: tuple(current.get(domain_of(spec), spec) for spec in getattr(config, key))
        for key in _CONFIG_KEYS
    }
    return config.model_copy(update=moved)


def load_roles(
    config: DataConfig, specs: Sequence[str], source: EmbeddingSource
) -> dict[str, tuple[QuerySet, ...]]:
    """Load collections to evaluate a model that was trained with a configuration.

    A collection that was trained on is split as it was for the training. All queries of a
    collection that is not in the configuration have the role `unseen_test`. Collections are
    identified by name, even if their folders were moved.

    Args:
        config: Data of the training.
        specs: Collections to load.
        source: The encoder, or a folder of vectors.

    Returns:
        Role -> query sets, including roles without queries.

    Raises:
        DataError: Two collections have the same name, or one has nothing to rank.
    """
    roles: dict[str, tuple[QuerySet, ...]] = dict.fromkeys(ROLES, ())
    domains = set[str]()
    # Which queries were left out follows from all collections together.
    is_cut = config.train_queries is not None and includes_training_data(config, specs)
    splits = split_collections(with_moved_folders(config, specs)).splits if is_cut else {}
    for spec in specs:
        collection = load_judged(spec, config)
        if collection.domain in domains:
            raise DataError(f"`{collection.domain}` is named twice. Folders need different names.")
        domains.add(collection.domain)
        require_ranking(collection)
        queries, documents = source.embed(collection)
        collection = count_unread(collection, source)
        lexical = lexical_index(collection, config)
        for role, ids in _query_ids(config, spec, collection, splits.get(spec)).items():
            query_set = build_query_set(
                collection,
                queries,
                documents,
                query_ids=ids,
                n_candidates=config.candidates,
                candidates_from=config.candidates_from,
                for_training=role == TRAIN,
                lexical=lexical,
            )
            roles[role] = (*roles[role], query_set)
    return roles


def _query_ids(
    config: DataConfig, spec: str, collection: Collection, cut: Split | None
) -> dict[str, tuple[str, ...]]:
    """Return role -> query ids of one collection, whose queries may have been cut."""
    domain = collection.domain
    if _is_among(spec, domain, config.seen):
        split = cut or split_of(collection, config)
        return {TRAIN: split.train, VALIDATION: split.validation, TEST: split.test}
    queries = sorted(collection.queries)
    if _is_among(spec, domain, config.unseen_validation):
        return {UNSEEN_VALIDATION: cut.validation if cut else tuple(collection.answerable(queries))}
    return {UNSEEN_TEST: tuple(queries)}


def _is_among(spec: str, domain: str, configured: Sequence[str]) -> bool:
    return spec in configured or domain in map(domain_of, configured)
