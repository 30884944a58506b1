"""What a model and the cosine score on the queries of each role, for the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection, domain_of, load_collection, split_by_query
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation import NDCG
from quantum_rerank.similarity import Head
from quantum_rerank.training.data_manager import PreparedData, QuerySet, query_set
from quantum_rerank.training.ranking import Candidates
from quantum_rerank.training.validators import (
    TEST,
    TRAIN,
    UNSEEN_TEST,
    UNSEEN_VALIDATION,
    VALIDATION,
    Standing,
)

ROLES = (TRAIN, VALIDATION, UNSEEN_VALIDATION, TEST, UNSEEN_TEST)


def query_roles(prepared: PreparedData) -> dict[str, tuple[QuerySet, ...]]:
    """Role -> the query sets of a run, roles without queries among them."""
    trial = prepared.trial
    return {
        TRAIN: trial.train,
        VALIDATION: trial.seen,
        UNSEEN_VALIDATION: trial.unseen,
        TEST: prepared.test_seen,
        UNSEEN_TEST: prepared.test_unseen,
    }


def load_roles(
    config: DataConfig, specs: Sequence[str], source: EmbeddingSource
) -> dict[str, tuple[QuerySet, ...]]:
    """Load any collections for a model that was trained as `config` says: role -> query sets.

    What it was trained on is split as it was then; all queries of a collection that is not in
    the configuration are of an unseen domain. A collection is known by its name, wherever its
    folder lies now.
    Raises: DataError where two have the same name.
    """
    roles: dict[str, tuple[QuerySet, ...]] = dict.fromkeys(ROLES, ())
    domains = set[str]()
    for spec in specs:
        collection = load_collection(spec)
        if collection.domain in domains:
            raise DataError(f"`{collection.domain}` is named twice. Folders need different names.")
        domains.add(collection.domain)
        queries, documents = source.embed(collection)
        for role, ids in _query_ids(config, spec, collection).items():
            one = query_set(collection, queries, documents, ids, config.candidates)
            roles[role] = (*roles[role], one)
    return roles


def _query_ids(config: DataConfig, spec: str, collection: Collection) -> dict[str, tuple[str, ...]]:
    def among(known: Sequence[str]) -> bool:
        return spec in known or collection.domain in map(domain_of, known)

    if among(config.seen):
        split = split_by_query(
            collection, config.validation_split, config.test_split, config.split_seed
        )
        return {TRAIN: split.train, VALIDATION: split.validation, TEST: split.test}
    role = UNSEEN_VALIDATION if among(config.unseen_validation) else UNSEEN_TEST
    return {role: tuple(sorted(collection.queries))}


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
