from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from quantum_rerank.config import CircuitConfig, ExperimentConfig, FusionConfig, MlpConfig
from quantum_rerank.similarity import (
    Head,
    LexicalPart,
    NearestGate,
    build_head,
    fuse,
    score_parts,
)
from quantum_rerank.similarity.gate import N_NEAREST


def at(*degrees: float) -> Tensor:
    """Unit vectors in a plane."""
    angles = torch.tensor([math.radians(angle) for angle in degrees])
    return torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)


def gate(high: float, low: float = 0.0) -> NearestGate:
    """Three training queries at one place, and one at a right angle."""
    result = NearestGate(2)
    result.queries = at(0.0, 0.0, 0.0, 90.0)
    result.low.fill_(low)
    result.high.fill_(high)
    return result


def small_head(model: str = "cosine", gate: str = "none", dim: int = 2) -> Head:
    torch.manual_seed(0)
    return build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=2, n_layers=1, engine="torch"),
            mlp=MlpConfig(hidden_layers=(5,), dropout=0.0),
            fusion=FusionConfig(gate=gate),  # type: ignore[arg-type]
        ),
        dim,
    )


def test_the_share_of_a_query_is_the_one_computed_by_hand() -> None:
    # 60 degrees from the three: a cosine of 1/2, halfway between 0.3 and 0.7.
    share = gate(high=0.7, low=0.3)(at(-60.0))
    torch.testing.assert_close(share, torch.tensor([0.5]).double(), atol=1e-6, rtol=0)


def test_near_queries_keep_the_weight_and_far_ones_lose_it() -> None:
    shares = gate(high=0.7, low=0.3)(at(0.0, 40.0, -50.0, 120.0, 180.0)).tolist()
    assert shares[:2] == [1.0, 1.0]
    assert 0.0 < shares[2] < 1.0
    assert shares[3:] == [0.0, 0.0]


@pytest.mark.parametrize(("high", "low"), [(0.0, 0.0), (0.0, 0.3), (0.3, 0.3)])
def test_without_a_higher_bound_every_query_keeps_the_weight(
    high: float, low: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(NearestGate, "nearness")  # no distance has to be computed
    assert torch.equal(gate(high, low)(at(0.0, -90.0, 180.0)), torch.ones(3).double())


@pytest.mark.parametrize("n_queries", [1, 2, 3, 20])
def test_the_nearness_is_the_mean_of_the_highest_cosines(n_queries: int) -> None:
    generator = torch.Generator().manual_seed(0)
    one = NearestGate(8)
    one.queries = normalize(torch.randn(n_queries, 8, generator=generator), dim=1)
    queries = normalize(torch.randn(7, 8, generator=generator), dim=1)
    highest = (queries @ one.queries.T).sort(dim=1, descending=True).values[:, :N_NEAREST]
    torch.testing.assert_close(one.nearness(queries), highest.mean(dim=1))


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_gated_affinities_fuse_to_what_the_gated_weight_gives(weight: float) -> None:
    head = small_head()
    head.gate = gate(high=0.7, low=0.3)
    rng = np.random.default_rng(0)
    cosine, affinity = rng.uniform(-1, 1, (3, 4)), rng.uniform(0, 1, (3, 4))
    queries = at(0.0, -50.0, -100.0).numpy()
    of_query = weight * head.gate(torch.from_numpy(queries)).numpy()[:, None]
    shares = head.gate(torch.from_numpy(queries)).numpy()
    parts = score_parts(head, cosine, None, affinity, shares)
    np.testing.assert_allclose(parts.fused(weight), fuse(cosine, affinity, of_query))


def test_far_queries_are_left_to_the_first_stage_alone() -> None:
    head = small_head()
    head.gate, head.lexical = gate(high=0.7, low=0.3), LexicalPart()
    head.lexical.weight.fill_(0.75)
    head.lexical.weight_alone.fill_(0.25)
    rng = np.random.default_rng(0)
    cosine, lexical, affinity = rng.uniform(0, 1, (3, 2, 4))
    near_and_far = head.gate(at(0.0, 180.0)).numpy()
    scores = score_parts(head, cosine, lexical, affinity, near_and_far).fused(0.5)
    near = fuse(fuse(cosine, lexical, 0.75), affinity, 0.5)[0]
    np.testing.assert_allclose(scores[0], near)
    np.testing.assert_allclose(scores[1], fuse(cosine, lexical, 0.25)[1])


def test_a_head_without_gate_and_lexical_part_leaves_scores_alone() -> None:
    cosine, affinity = np.zeros((1, 3)), np.ones((1, 3))
    parts = score_parts(small_head(), cosine, np.ones((1, 3)), affinity, None)
    assert parts.first is cosine
    assert parts.affinity is affinity


@pytest.mark.parametrize("model", ["hybrid", "mlp_twin", "quantum_only", "cosine"])
def test_a_gate_is_part_of_the_model_and_is_not_trained(model: str) -> None:
    bare, gated = (small_head(model, name, dim=6) for name in ("none", "nearest"))
    more = {"gate.queries", "gate.low", "gate.high"}
    assert gated.state_dict().keys() - bare.state_dict().keys() == more
    names = [[name for name, _ in head.named_parameters()] for head in (bare, gated)]
    assert names[0] == names[1]


@pytest.mark.parametrize("assign", [False, True])
def test_a_gate_takes_the_number_of_queries_that_were_saved(assign: bool) -> None:
    saved, loaded = (small_head(gate="nearest") for _ in range(2))
    saved.gate = gate(high=0.7, low=0.3)
    loaded.load_state_dict(saved.state_dict(), assign=assign)
    assert loaded.gate is not None
    queries = at(0.0, -50.0, -100.0)
    assert torch.equal(loaded.gate(queries), saved.gate(queries))


def test_queries_of_another_width_are_refused() -> None:
    saved, loaded = small_head(gate="nearest", dim=3), small_head(gate="nearest")
    with pytest.raises(RuntimeError, match="size mismatch"):
        loaded.load_state_dict(saved.state_dict())
