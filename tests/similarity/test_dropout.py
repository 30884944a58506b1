from __future__ import annotations

import pytest
import torch
from torch import nn

from quantum_rerank.similarity.dropout import Dropout


def dropped(rate: float, shape: tuple[int, ...] = (200, 501), seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return Dropout(rate)(torch.ones(shape))


@pytest.mark.parametrize("rate", [0.1, 0.232, 0.5, 0.9])
def test_a_share_of_the_values_is_dropped_and_the_mean_is_kept(rate: float) -> None:
    values = dropped(rate)
    n = values.numel()
    error = (rate * (1.0 - rate) / n) ** 0.5
    assert float((values == 0.0).float().mean()) == pytest.approx(rate, abs=4.0 * error)
    assert float(values.mean()) == pytest.approx(1.0, abs=4.0 * error / (1.0 - rate))
    assert len(values.unique()) == 2


def test_values_are_dropped_independently() -> None:
    kept = (dropped(0.5, (4000, 8)) > 0.0).float()
    correlations = torch.corrcoef(kept.T) - torch.eye(8)
    assert float(correlations.abs().max()) < 0.07  # four of their standard errors


def test_the_gradient_is_that_of_the_kept_values() -> None:
    values = torch.ones(100, requires_grad=True)
    torch.manual_seed(0)
    outputs = Dropout(0.3)(values)
    outputs.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, outputs.detach())


def test_a_seed_repeats_the_masks_and_another_one_changes_them() -> None:
    assert torch.equal(dropped(0.5), dropped(0.5))
    assert not torch.equal(dropped(0.5), dropped(0.5, seed=1))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_few_values_are_dropped_too(n: int) -> None:
    assert dropped(0.5, (n,)).shape == (n,)


def test_all_and_nothing() -> None:
    assert torch.equal(dropped(1.0, (5,)), torch.zeros(5))
    assert torch.equal(dropped(0.0, (5,)), torch.ones(5))


def test_nothing_is_dropped_outside_of_training() -> None:
    values = torch.ones(50)
    assert torch.equal(Dropout(0.5).eval()(values), values)


def test_masks_are_as_likely_as_those_of_torch() -> None:
    """Counts of dropped values in a row, against those of the layer of torch."""
    torch.manual_seed(1)
    ones = torch.ones(2000, 64)
    ours, theirs = (
        (layer(ones) == 0.0).sum(1).float() for layer in (Dropout(0.3), nn.Dropout(0.3))
    )
    assert float(ours.mean()) == pytest.approx(float(theirs.mean()), abs=0.5)
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.1)
