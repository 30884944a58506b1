"""What a model and the cosine score on the queries of each role, for the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import (
    Collection,
    domain_of,
    require_ranking,
    split_by_query,
)
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation import NDCG
from quantum_rerank.similarity import Head
from quantum_rerank.training.data_manager import (
    PreparedData,
    QuerySet,
    load_judged,
    query_set,
    with_unread,
)
from quantum_rerank.training.ranking import Candidates
from quantum_rerank.training.targets import (
    TEST,
    TRAIN,
    UNSEEN_TEST,
    UNSEEN_VALIDATION,
    VALIDATION,
    Standing,
)

_CONFIGURED = ("seen", "unseen_validation", "unseen_test")
ROLES = (TRAIN, VALIDATION, UNSEEN_VALIDATION, TEST, UNSEEN_TEST)


def query_roles(prepared: PreparedData) -> dict[str, tuple[QuerySet, ...]]:
    """Role -> the query sets of a run, roles without queries among them."""
    trial = prepared.trial
    return {
        TRAIN: trial.train,
        VALIDATION: trial.seen,
        UNSEEN_VALIDATION: trial.unseen,
        TEST: prepared.test_seen,
        UNSEEN_TEST: prepared.unseen_test,
    }


def learned_from(config: DataConfig, specs: Sequence[str]) -> bool:
    """Whether a collection that is trained on is among `specs`, wherever it lies now."""
    return any(_is_among(spec, domain_of(spec), config.seen) for spec in specs)


def as_placed(config: DataConfig, specs: Sequence[str]) -> DataConfig:
    """The same with its collections where `specs`, if they name them, say that they lie now."""
    now = {domain_of(spec): spec for spec in specs}
    placed = {
        role: tuple(now.get(domain_of(spec), spec) for spec in getattr(config, role))
        for role in _CONFIGURED
    }
    return config.model_copy(update=placed)


def load_roles(
    config: DataConfig, specs: Sequence[str], source: EmbeddingSource
) -> dict[str, tuple[QuerySet, ...]]:
    """Load any collections for a model that was trained as `config` says: role -> query sets.

    What it was trained on is split as it was then; all queries of a collection that is not in
    the configuration are of an unseen domain. A collection is known by its name, wherever its
    folder lies now.
    Raises: DataError where two have the same name, or one has nothing to rank.
    """
    roles: dict[str, tuple[QuerySet, ...]] = dict.fromkeys(ROLES, ())
    domains = set[str]()
    for spec in specs:
        collection = load_judged(spec, config)
        if collection.domain in domains:
            raise DataError(f"`{collection.domain}` is named twice. Folders need different names.")
        domains.add(collection.domain)
        require_ranking(collection)
        queries, documents = source.embed(collection)
        collection = with_unread(collection, source)
        for role, ids in _query_ids(config, spec, collection).items():
            one = query_set(
                collection,
                queries,
                documents,
                ids,
                config.candidates,
                for_training=role == TRAIN,
            )
            roles[role] = (*roles[role], one)
    return roles


def _query_ids(config: DataConfig, spec: str, collection: Collection) -> dict[str, tuple[str, ...]]:
    domain = collection.domain
    if _is_among(spec, domain, config.seen):
        split = split_by_query(
            collection, config.validation_split, config.test_split, config.split_seed
        )
        return {TRAIN: split.train, VALIDATION: split.validation, TEST: split.test}
    is_chosen_on = _is_among(spec, domain, config.unseen_validation)
    queries = sorted(collection.queries)
    if is_chosen_on:
        return {UNSEEN_VALIDATION: tuple(collection.answerable(queries))}
    return {UNSEEN_TEST: tuple(queries)}


def _is_among(spec: str, domain: str, known: Sequence[str]) -> bool:
    return spec in known or domain in map(domain_of, known)


def standings(
    head: Head, fusion_weight: float, roles: Mapping[str, Sequence[QuerySet]]
) -> dict[str, Standing]:
    """Role -> the mean NDCG@10 over its domains; roles without queries are left out."""
    return {role: _standing(head, fusion_weight, sets) for role, sets in roles.items() if sets}


def _standing(head: Head, fusion_weight: float, query_sets: Sequence[QuerySet]) -> Standing:
    model, cosine = [], []
    for queries in query_sets:
        candidates = Candidates(queries)
        affinity = candidates.affinities(head)
        model.append(candidates.means(affinity, fusion_weight, (NDCG,))[NDCG])
        cosine.append(candidates.means(affinity, 0.0, (NDCG,))[NDCG])
    return Standing(fmean(model), fmean(cosine))
