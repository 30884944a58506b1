from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quantum_rerank.config import CircuitConfig, DataConfig, ExperimentConfig, MlpConfig
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation import NDCG
from quantum_rerank.similarity import build_head
from quantum_rerank.training.data_manager import PreparedData
from quantum_rerank.training.ranking import score_on
from quantum_rerank.training.standings import load_roles, query_roles, standings
from quantum_rerank.training.targets import UNSEEN_VALIDATION


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_a_standing_is_the_published_score_beside_the_cosine_s(
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
    roles = query_roles(prepared)
    found = standings(head, weight, roles)
    assert set(found) == set(roles)
    for role, query_sets in roles.items():
        expected = score_on(head, weight, query_sets).metrics[NDCG]
        cosine = score_on(head, 0.0, query_sets).metrics[NDCG]
        assert found[role].model == pytest.approx(expected, abs=1e-12)
        assert found[role].cosine == pytest.approx(cosine, abs=1e-12)


def test_a_collection_of_one_document_has_no_standing(beir_folder: Callable[..., Path]) -> None:
    lone = beir_folder("lone", {"d": "An oak."}, {"q": "oak?"}, test={"q": {"d": 1}})
    with pytest.raises(DataError, match="beir:lone: the collection has one document"):
        load_roles(DataConfig(), [f"beir:{lone}"], embedding_source("npy:nowhere"))


def test_a_role_without_queries_has_no_standing(prepared: PreparedData) -> None:
    head = build_head(
        ExperimentConfig(
            model="cosine",
            circuit=CircuitConfig(n_qubits=2, n_layers=2),
            mlp=MlpConfig(hidden_layers=(8,), dropout=0.3),
        ),
        16,
    )
    roles = {**query_roles(prepared), UNSEEN_VALIDATION: ()}
    assert UNSEEN_VALIDATION not in standings(head, 0.0, roles)
