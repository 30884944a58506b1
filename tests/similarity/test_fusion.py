from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.similarity import FUSION_GRID, FusedSimilarity, build_head, fuse


def model(initial_weight: float = 0.5) -> FusedSimilarity:
    torch.manual_seed(0)
    head = build_head(
        ExperimentConfig(
            model="hybrid",
            circuit=CircuitConfig(n_qubits=2, n_layers=2),
            mlp=MlpConfig(hidden_layers=(8,), dropout=0.0),
        ),
        6,
    )
    return FusedSimilarity(head, initial_weight)


def texts(n: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(n, 6, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_weight_zero_is_exactly_the_cosine_and_one_exactly_the_affinity() -> None:
    rng = np.random.default_rng(0)
    cosine, affinity = rng.uniform(-1, 1, (3, 4)), rng.uniform(0, 1, (3, 4))
    np.testing.assert_array_equal(fuse(cosine, affinity, 0.0), cosine)
    np.testing.assert_array_equal(fuse(cosine, affinity, 1.0), affinity)


def test_arrays_and_tensors_are_fused_alike() -> None:
    rng = np.random.default_rng(0)
    cosine, affinity = rng.uniform(-1, 1, 5), rng.uniform(0, 1, 5)
    tensors = fuse(torch.from_numpy(cosine), torch.from_numpy(affinity), 0.3)
    np.testing.assert_allclose(tensors.numpy(), fuse(cosine, affinity, 0.3))


def test_the_grid_goes_from_plain_cosine_to_plain_affinity() -> None:
    assert FUSION_GRID[0] == 0.0
    assert FUSION_GRID[-1] == 1.0
    assert list(FUSION_GRID) == sorted(set(FUSION_GRID))


@pytest.mark.parametrize("weight", [0.01, 0.3, 0.5, 0.99])
def test_training_starts_from_the_weight_that_was_asked_for(weight: float) -> None:
    assert model(weight).weight.item() == pytest.approx(weight, abs=1e-6)


def test_the_fused_score_is_made_of_cosine_and_affinity() -> None:
    fused = model(0.25)
    queries, documents = texts(3, seed=1), texts(5, seed=2)
    affinity, _ = fused(queries, documents)
    score = fused.fused(affinity, queries, documents)
    assert affinity.shape == score.shape == (3, 5)
    assert affinity.dtype == score.dtype == torch.float32
    expected = 0.75 * (queries @ documents.T) + 0.25 * affinity
    torch.testing.assert_close(score, expected)


def test_the_affinity_of_a_model_is_its_head_s() -> None:
    fused = model()
    queries, documents = texts(3, seed=1), texts(5, seed=2)
    affinity, kept = fused(queries, documents)
    states = fused.head.represent(queries), fused.head.represent(documents)
    torch.testing.assert_close(affinity, fused.head.compare(*states).float())
    torch.testing.assert_close(kept, states[1])


def test_the_fusion_weight_learns_from_the_fused_score_only() -> None:
    fused = model()
    queries, documents = texts(2, seed=1), texts(3, seed=2)
    affinity, _ = fused(queries, documents)
    score = fused.fused(affinity, queries, documents)
    (from_affinity,) = torch.autograd.grad(
        affinity.sum(), fused.fusion_logit, allow_unused=True, retain_graph=True
    )
    (from_score,) = torch.autograd.grad(score.sum(), fused.fusion_logit)
    assert from_affinity is None
    assert from_score.abs() > 1e-6


def test_circuit_parameters_include_the_fusion_weight_and_no_classical_one() -> None:
    fused = model()
    circuit = {id(p) for p in fused.circuit_parameters()}
    classical = {id(p) for p in fused.head.classical_parameters()}
    assert id(fused.fusion_logit) in circuit
    assert not circuit & classical
    assert circuit | classical == {id(p) for p in fused.parameters()}
