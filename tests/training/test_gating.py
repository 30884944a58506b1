from __future__ import annotations

import numpy as np
import pytest
import torch

from quantum_rerank.embeddings import Embeddings
from quantum_rerank.similarity import NearestGate
from quantum_rerank.training import gating
from quantum_rerank.training.gating import QUANTILES, place_gate

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


def placed(queries: list[Embeddings], seed: int = 0) -> NearestGate:
    gate = NearestGate(queries[0].shape[1])
    place_gate(gate, queries, np.random.default_rng(seed))
    return gate


def test_a_gate_keeps_the_training_queries() -> None:
    texts, _ = clusters(4, 50)
    gate = placed([texts[:70], texts[70:]])
    np.testing.assert_array_equal(gate.queries.numpy(), texts)


def test_a_query_of_another_direction_is_left_to_the_first_stage() -> None:
    texts, directions = clusters(5, 50)
    gate = placed([texts[:200]])
    gate.high.fill_(gate.levels[0])
    shares = gate(torch.from_numpy(directions))
    assert shares[:4].min() > 0.95
    assert shares[4] < 0.1


def test_levels_are_quantiles_of_the_nearness_to_other_training_queries() -> None:
    texts, _ = clusters(4, 50)
    gate = placed([texts])
    nearness = []
    for row, text in enumerate(texts):
        cosines = np.sort(np.delete(texts, row, axis=0) @ text)
        nearness.append(cosines[-3:].mean())
    np.testing.assert_allclose(gate.levels, np.quantile(nearness, QUANTILES), rtol=1e-5)
    pairs = texts @ texts.T
    expected = (pairs.sum() - np.trace(pairs)) / (200 * 199)
    assert gate.low.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("n_queries", [1, 2, 3, 4])
def test_few_queries_are_no_obstacle(n_queries: int) -> None:
    texts, _ = clusters(4, 50)
    gate = placed([texts[:n_queries]])
    assert len(gate.levels) == (len(QUANTILES) if n_queries > 1 else 0)
    for high in (0.0, *gate.levels):
        gate.high.fill_(high)
        shares = gate(torch.from_numpy(texts))
        assert ((shares >= 0.0) & (shares <= 1.0)).all()


def test_queries_that_are_all_the_same_are_no_obstacle() -> None:
    texts = np.repeat(clusters(1, 1)[0], 40, axis=0)
    gate = placed([texts])
    gate.high.fill_(gate.levels[-1])
    assert torch.isfinite(gate(torch.from_numpy(texts))).all()


def test_of_many_queries_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gating, "MOST_QUERIES", 30)
    texts, _ = clusters(4, 50)
    first, again, other = (placed([texts], seed).queries for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(np.unique(first.numpy(), axis=0)) == 30
