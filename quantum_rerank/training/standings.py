"""What a model and the cosine score on the queries of each role, for the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from quantum_rerank.evaluation import NDCG
from quantum_rerank.similarity import Head
from quantum_rerank.training.data_manager import PreparedData, QuerySet
from quantum_rerank.training.ranking import Candidates
from quantum_rerank.training.validators import (
    TEST,
    TRAIN,
    UNSEEN_TEST,
    UNSEEN_VALIDATION,
    VALIDATION,
    Standing,
)


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
