from __future__ import annotations

import numpy as np
import pytest
import torch

from quantum_rerank.embeddings import Embeddings
from quantum_rerank.similarity import DistanceGate
from quantum_rerank.training.gating import place_gate

DIM = 12


def clusters(n_clusters: int, n_each: int, seed: int = 0) -> tuple[Embeddings, Embeddings]:
    """Unit vectors around some directions, and the directions."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0][:n_clusters]
    texts = np.repeat(directions, n_each, axis=0) + rng.normal(
        scale=0.05, size=(n_clusters * n_each, DIM)
    )
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return unit.astype(np.float32), directions.astype(np.float32)


def placed(queries: list[Embeddings], n_centroids: int, seed: int = 0) -> DistanceGate:
    gate = DistanceGate(n_centroids, queries[0].shape[1])
    place_gate(gate, queries, np.random.default_rng(seed))
    return gate


def test_centroids_lie_where_the_queries_are() -> None:
    texts, directions = clusters(4, 50)
    gate = placed([texts[:70], texts[70:]], 8)
    assert gate.distances(torch.from_numpy(directions)).max() < 0.02
    torch.testing.assert_close(gate.centroids.norm(dim=1), torch.ones(8))


def test_a_query_of_another_direction_lies_far_beyond_the_usual_ones() -> None:
    texts, _ = clusters(4, 50)
    gate = placed([texts], 8)
    gate.fall.fill_(0.5)
    _, directions = clusters(5, 1)
    shares = gate(torch.from_numpy(np.concatenate([texts, directions[4:]])))
    assert shares[-1] < 0.01
    assert shares[:-1].median() == pytest.approx(1.0, abs=1e-3)
    assert shares[:-1].min() > 0.1


def test_usual_and_spread_are_those_of_the_training_queries() -> None:
    texts, _ = clusters(4, 50)
    gate = placed([texts], 4)
    distances = gate.distances(torch.from_numpy(texts)).numpy()
    assert gate.usual.item() == pytest.approx(np.sort(distances)[99], abs=1e-6)
    assert gate.spread.item() == pytest.approx(distances.std(), rel=1e-4)


@pytest.mark.parametrize("n_queries", [1, 7, 8, 17, 200])
def test_few_queries_make_few_centroids_in_as_many_places(n_queries: int) -> None:
    texts, _ = clusters(4, 50)
    gate = placed([texts[::-1][:n_queries]], 6)
    assert gate.centroids.shape == (6, DIM)
    n_different = len(np.unique(gate.centroids.numpy(), axis=0))
    assert 1 <= n_different <= min(6, max(n_queries // 8, 1))
    assert torch.isfinite(gate(torch.from_numpy(texts))).all()


def test_queries_that_are_all_the_same_are_no_obstacle() -> None:
    texts = np.repeat(clusters(1, 1)[0], 40, axis=0)
    gate = placed([texts], 4)
    gate.fall.fill_(1.0)
    assert torch.isfinite(gate(torch.from_numpy(texts))).all()


def test_the_same_generator_places_the_same_centroids() -> None:
    texts = [clusters(4, 50, seed)[0] for seed in (1, 2)]
    first, again, other = (placed(texts, 6, seed).centroids for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_of_many_queries_some_are_enough() -> None:
    texts, directions = clusters(4, 1500)
    gate = placed([texts], 4, seed=1)
    near = gate.distances(torch.from_numpy(directions))
    assert near.median() < 0.02
