"""What each of the classical controls is for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from quantum_rerank.config import CircuitConfig, ExperimentConfig, LinearConfig, MlpConfig
from quantum_rerank.similarity import Head, build_head


def head(model: str, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    return build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=4, n_layers=3),
            mlp=MlpConfig(hidden_layers=(12, 8), dropout=0.1),
            linear=LinearConfig(rank=5),
        ),
        16,
    )


def texts(n: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(n, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_twin_has_the_hybrid_s_trunk_and_nothing_else() -> None:
    hybrid, twin = head("hybrid"), head("mlp_twin")
    trunk = {name: p.shape for name, p in hybrid.predictor.layers.named_parameters()}
    assert {name: p.shape for name, p in twin.layers.named_parameters()} == trunk
    assert not twin.circuit_parameters()
    n_classical = sum(p.numel() for p in hybrid.classical_parameters())
    assert sum(p.numel() for p in twin.parameters()) == n_classical


def test_cosine_trains_nothing_and_is_the_cosine() -> None:
    one = head("cosine")
    assert not list(one.parameters())
    queries, documents = texts(3), texts(5, seed=1)
    found = one.compare(one.represent(7 * queries), one.represent(documents))
    torch.testing.assert_close(found, queries @ documents.T)


def test_two_texts_one_bandwidth_apart_have_the_affinity_of_a_standard_deviation() -> None:
    one = head("rbf")
    at, beside = torch.zeros(1, 24), torch.eye(24)[:1]
    assert one.compare(at, beside).item() == pytest.approx(math.exp(-0.5))
    with torch.no_grad():
        one.log_bandwidth += math.log(2.0)
    torch.testing.assert_close(
        2 * one.eval().represent(texts(3)), head("rbf").eval().represent(texts(3))
    )


def test_the_first_bandwidth_is_the_distance_between_texts() -> None:
    one = head("rbf").eval()
    affinity = one.compare(one.represent(texts(100)), one.represent(texts(100, seed=1)))
    assert affinity.median().item() == pytest.approx(math.exp(-0.5), abs=0.1)


def test_a_linear_projection_is_the_cosine_of_mapped_texts() -> None:
    one = head("linear_projection")
    with torch.no_grad():
        one.projection.weight.copy_(torch.eye(5, 16))
    queries, documents = texts(3), texts(4, seed=1)
    found = one.compare(one.represent(queries), one.represent(documents))
    expected = normalize(queries[:, :5], dim=1) @ normalize(documents[:, :5], dim=1).T
    torch.testing.assert_close(found, expected)


def test_a_bilinear_affinity_sees_queries_and_documents_by_matrices_of_their_own() -> None:
    one = head("low_rank_bilinear")
    queries, documents = texts(3), texts(4, seed=1)
    with torch.no_grad():
        one.of_documents.weight.copy_(torch.eye(5, 16))
    found = one.compare(one.represent(2 * queries), one.represent(documents))
    expected = torch.tanh(queries @ one.of_queries.weight.T @ torch.eye(5, 16) @ documents.T)
    torch.testing.assert_close(found, expected)
    other_way = one.compare(one.represent(documents), one.represent(queries))
    assert not torch.allclose(found, other_way.T)


def test_an_untrained_bilinear_affinity_is_that_of_one_projection() -> None:
    one = head("low_rank_bilinear")
    states = one.represent(texts(200))
    affinity = one.compare(states, states)
    torch.testing.assert_close(affinity, affinity.T)
    assert affinity.diagonal().atanh().mean().item() == pytest.approx(1.0, abs=0.1)
