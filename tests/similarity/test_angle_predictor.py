from __future__ import annotations

import math

import pytest
import torch

from quantum_rerank.circuits import CircuitConfig
from quantum_rerank.similarity import MlpConfig
from quantum_rerank.similarity.angle_predictor import AnglePredictor


def predictor_of(
    hidden_layers: tuple[int, ...], dropout: float = 0.0, angles: str = "bounded"
) -> AnglePredictor:
    """Build a predictor from 5 inputs to 8 angles."""
    circuit = CircuitConfig(n_qubits=2, n_layers=2, angles=angles)
    return AnglePredictor(5, MlpConfig(hidden_layers=hidden_layers, dropout=dropout), circuit)


@pytest.mark.parametrize("hidden_layers", [(), (8,), (8, 4, 2)])
def test_angles_stay_within_a_half_turn_either_way(hidden_layers: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    predictor = predictor_of(hidden_layers, dropout=0.1).eval()
    with torch.no_grad():
        angles = predictor(100 * torch.randn(50, 5))
    assert angles.shape == (50, 8)
    assert angles.abs().max() <= math.pi + 1e-6
    assert angles.min() < 0 < angles.max()


def test_wrapped_angles_take_any_value_and_never_lose_their_gradient() -> None:
    torch.manual_seed(0)
    texts = 1e3 * torch.randn(50, 5)
    gradients = {}
    for kind in ("bounded", "wrapped"):
        torch.manual_seed(1)
        predictor = predictor_of((8,), angles=kind)
        angles = predictor(texts)
        assert (angles.abs().max() > 2 * math.pi) == (kind == "wrapped")
        angles.sum().backward()
        gradients[kind] = predictor.layers[-1].bias.grad.abs().min()  # type: ignore[index, union-attr]
    assert gradients["wrapped"] == pytest.approx(50 * math.pi)
    assert gradients["bounded"] < gradients["wrapped"] / 2


def test_small_angles_are_the_same_bounded_or_wrapped() -> None:
    found = []
    for kind in ("bounded", "wrapped"):
        torch.manual_seed(1)
        predictor = predictor_of((), angles=kind)
        with torch.no_grad():
            found.append(predictor(torch.zeros(1, 5)) - predictor(1e-3 * torch.ones(1, 5)))
    torch.testing.assert_close(*found, rtol=0.3, atol=1e-5)


def test_parameters_are_counted_by_hand() -> None:
    predictor = predictor_of((4, 3))
    assert sum(p.numel() for p in predictor.parameters()) == (5 * 4 + 4) + (4 * 3 + 3) + (3 * 8 + 8)


def test_dropout_is_noise_in_training_only() -> None:
    torch.manual_seed(0)
    predictor = predictor_of((32,), dropout=0.5)
    texts = torch.randn(4, 5)
    assert not torch.equal(predictor(texts), predictor(texts))
    predictor.eval()
    assert torch.equal(predictor(texts), predictor(texts))
