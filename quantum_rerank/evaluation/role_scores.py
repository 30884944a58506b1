"""NDCG@10 of a model and of the cosine on the queries of each role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from quantum_rerank.evaluation.measurements import ModelAndCosine
from quantum_rerank.evaluation.metrics import NDCG
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import Candidates
from quantum_rerank.similarity import Head


def score_against_cosine(
    head: Head, fusion_weight: float, roles: Mapping[str, Sequence[QuerySet]]
) -> dict[str, ModelAndCosine]:
    """Score a model and the cosine on each role.

    Args:
        head: The trained model.
        fusion_weight: Weight of the model's affinity beside the cosine, from 0 to 1.
        roles: Role -> query sets, one for each domain.

    Returns:
        Role -> mean NDCG@10 over its domains. Roles without queries are omitted.
    """
    return {role: _score(head, fusion_weight, sets) for role, sets in roles.items() if sets}


def _score(head: Head, fusion_weight: float, query_sets: Sequence[QuerySet]) -> ModelAndCosine:
    model, cosine = [], []
    for queries in query_sets:
        candidates = Candidates(queries)
        parts = candidates.parts(head)
        of_cosine = candidates.beside_cosine(parts.affinity)
        model.append(candidates.means(parts, fusion_weight, (NDCG,))[NDCG])
        cosine.append(candidates.means(of_cosine, 0.0, (NDCG,))[NDCG])
    return ModelAndCosine(fmean(model), fmean(cosine))
