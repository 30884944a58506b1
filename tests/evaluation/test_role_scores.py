from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quantum_rerank.config import CircuitConfig, DataConfig, ExperimentConfig, MlpConfig
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.evaluation.role_scores import score_against_cosine
from quantum_rerank.evaluation.roles import UNSEEN_VALIDATION
from quantum_rerank.similarity import build_head
from quantum_rerank.training.evaluation_data import load_roles
from quantum_rerank.training.trial_data import PreparedData


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_scores_equal_the_published_ones_of_model_and_cosine(
    prepared: PreparedData, weight: float
) -> None:
    torch.manual_seed(0)
    head = build_head(
        ExperimentConfig(
            model="hybrid",
            circuit=CircuitConfig(n_qubits=2, n_layers=2),
            mlp=MlpConfig(hidden_layers=(8,), dropout=0.3),
        ),
        16,
    ).eval()
    roles = prepared.roles
    scores = score_against_cosine(head, weight, roles)
    assert set(scores) == set(roles)
    for role, query_sets in roles.items():
        expected = score_on(head, weight, query_sets).metrics[NDCG]
        cosine = score_on(head, 0.0, query_sets).metrics[NDCG]
        assert scores[role].model == pytest.approx(expected, abs=1e-12)
        assert scores[role].cosine == pytest.approx(cosine, abs=1e-12)


def test_a_collection_of_one_document_is_refused(beir_folder: Callable[..., Path]) -> None:
    lone = beir_folder("lone", {"d": "An oak."}, {"q": "oak?"}, test={"q": {"d": 1}})
    with pytest.raises(DataError, match="beir:lone: the collection has one document"):
        load_roles(DataConfig(), [f"beir:{lone}"], embedding_source("npy:nowhere"))


def test_a_role_without_queries_is_omitted(prepared: PreparedData) -> None:
    head = build_head(ExperimentConfig(model="cosine"), 16)
    roles = {**prepared.roles, UNSEEN_VALIDATION: ()}
    assert UNSEEN_VALIDATION not in score_against_cosine(head, 0.0, roles)
