from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from quantum_rerank.config import CircuitConfig, ExperimentConfig, FusionConfig, MlpConfig
from quantum_rerank.similarity import FALLS, DistanceGate, build_head, fuse, gated


def at(*degrees: float) -> Tensor:
    """Unit vectors in a plane."""
    angles = torch.tensor([math.radians(one) for one in degrees])
    return torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)


def gate(fall: float, usual: float = 0.0, spread: float = 1.0) -> DistanceGate:
    """Two centroids at a right angle."""
    one = DistanceGate(2, 2)
    one.centroids.copy_(at(0.0, 90.0))
    for buffer, value in ((one.usual, usual), (one.spread, spread), (one.fall, fall)):
        buffer.fill_(value)
    return one


def test_the_share_of_a_query_is_the_one_computed_by_hand() -> None:
    # 60 degrees from the nearer centroid: a distance of 1/2, which is 2 spreads beyond 0.3.
    share = gate(fall=0.25, usual=0.3, spread=0.1)(at(-60.0, 150.0))
    torch.testing.assert_close(share, torch.full((2,), 1 / (1 + 0.5**2)).double())


def test_half_of_the_weight_is_left_at_one_over_the_fall() -> None:
    assert gate(fall=2.0)(at(-60.0)).item() == pytest.approx(0.5)


def test_queries_as_near_as_usual_keep_all_of_the_weight() -> None:
    shares = gate(fall=2.0, usual=0.3)(at(0.0, 10.0, 45.0, 90.0))
    assert torch.equal(shares, torch.ones(4).double())


def test_the_share_falls_with_the_distance_and_never_to_nothing() -> None:
    shares = gate(fall=2.0)(at(0.0, -10.0, -40.0, -80.0, -120.0, -135.0)).tolist()
    assert shares == sorted(set(shares), reverse=True)
    assert shares[0] == 1.0
    assert shares[-1] > 0.0


def test_without_a_fall_every_query_keeps_all_of_the_weight() -> None:
    assert FALLS[0] == 0.0
    assert torch.equal(gate(0.0)(at(0.0, -90.0, 180.0)), torch.ones(3).double())


@pytest.mark.parametrize("fall", FALLS)
@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_gated_affinities_fuse_to_what_the_gated_weight_gives(fall: float, weight: float) -> None:
    head = build_head(
        ExperimentConfig(
            model="cosine",
            circuit=CircuitConfig(n_qubits=2, n_layers=1, engine="torch"),
            mlp=MlpConfig(hidden_layers=(), dropout=0.0),
        ),
        2,
    )
    head.gate = gate(fall)
    rng = np.random.default_rng(0)
    cosine, affinity = rng.uniform(-1, 1, (3, 4)), rng.uniform(0, 1, (3, 4))
    queries = at(0.0, -50.0, -100.0).numpy()
    own = weight * head.gate(torch.from_numpy(queries)).numpy()[:, None]
    found = fuse(cosine, gated(head, queries, cosine, affinity), weight)
    np.testing.assert_allclose(found, fuse(cosine, affinity, own))


def test_a_head_without_a_gate_leaves_affinities_alone() -> None:
    head = build_head(
        ExperimentConfig(
            model="cosine",
            circuit=CircuitConfig(n_qubits=2, n_layers=1, engine="torch"),
            mlp=MlpConfig(hidden_layers=(), dropout=0.0),
        ),
        2,
    )
    affinity = np.ones((1, 3))
    assert gated(head, at(0.0).numpy(), np.zeros((1, 3)), affinity) is affinity


@pytest.mark.parametrize("model", ["hybrid", "mlp_twin", "quantum_only", "cosine"])
def test_a_gate_is_part_of_the_model_and_is_not_trained(model: str) -> None:
    torch.manual_seed(0)
    bare, one = (
        build_head(
            ExperimentConfig(
                model=model,
                circuit=CircuitConfig(n_qubits=2, n_layers=2, engine="torch"),
                mlp=MlpConfig(hidden_layers=(5,), dropout=0.0),
                fusion=FusionConfig(gate=name, centroids=3),
            ),
            6,
        )
        for name in ("none", "distance")
    )
    more = {"gate.centroids", "gate.usual", "gate.spread", "gate.fall"}
    assert one.state_dict().keys() - bare.state_dict().keys() == more
    names = [[name for name, _ in head.named_parameters()] for head in (bare, one)]
    assert names[0] == names[1]


def test_distances_are_those_to_the_nearest_centroid() -> None:
    one = DistanceGate(5, 8)
    generator = torch.Generator().manual_seed(0)
    one.centroids.copy_(normalize(torch.randn(5, 8, generator=generator), dim=1))
    queries = normalize(torch.randn(7, 8, generator=generator), dim=1)
    squared = torch.cdist(queries.double(), one.centroids.double()).min(dim=1).values ** 2
    torch.testing.assert_close(one.distances(queries), squared / 2, rtol=0, atol=1e-6)
