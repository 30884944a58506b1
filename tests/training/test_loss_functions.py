from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from quantum_rerank.config import LossName
from quantum_rerank.training.loss_functions import (
    contrastive,
    infonce,
    make_loss,
    neighbour_divergence,
    pairwise_hinge,
)

LOSSES: tuple[str, ...] = get_args(LossName)
every_loss = pytest.mark.parametrize("name", LOSSES)

SCORES = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.8, 0.3]])
POSITIVE = torch.tensor([[True, False, False], [False, False, True]])
NEGATIVE = torch.tensor([[False, True, False], [True, True, False]])


@every_loss
def test_raising_a_positive_or_lowering_a_negative_never_makes_it_worse(name: str) -> None:
    loss = make_loss(name, margin=0.9, temperature=0.5)
    scores = SCORES.clone().requires_grad_()
    loss.compute(scores, POSITIVE, NEGATIVE).backward()
    assert scores.grad is not None
    assert (scores.grad[POSITIVE] < 0).all()
    assert (scores.grad[NEGATIVE] >= 0).all()
    assert (scores.grad[NEGATIVE] > 0).any()


@every_loss
def test_a_document_that_is_neither_positive_nor_negative_is_left_alone(name: str) -> None:
    loss = make_loss(name, margin=0.9, temperature=0.5)
    scores = SCORES.clone().requires_grad_()
    value = loss.compute(scores, POSITIVE, NEGATIVE)
    value.backward()
    assert scores.grad is not None
    assert (scores.grad[~(POSITIVE | NEGATIVE)] == 0).all()
    moved = SCORES.clone()
    moved[~(POSITIVE | NEGATIVE)] = 0.99
    torch.testing.assert_close(loss.compute(moved, POSITIVE, NEGATIVE), value.detach())


@every_loss
def test_a_query_without_negatives_gives_a_finite_loss_and_gradient(name: str) -> None:
    loss = make_loss(name, margin=0.5, temperature=0.02)
    scores = SCORES.clone().requires_grad_()
    value = loss.compute(scores, POSITIVE, torch.zeros_like(POSITIVE))
    value.backward()
    assert math.isfinite(value.item())
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


@every_loss
def test_the_order_of_queries_and_documents_does_not_matter(name: str) -> None:
    loss = make_loss(name, margin=0.5, temperature=0.1)
    rows, columns = torch.tensor([1, 0]), torch.tensor([2, 0, 1])

    def shuffled(matrix: Tensor) -> Tensor:
        return matrix[rows][:, columns]

    torch.testing.assert_close(
        loss.compute(shuffled(SCORES), shuffled(POSITIVE), shuffled(NEGATIVE)),
        loss.compute(SCORES, POSITIVE, NEGATIVE),
    )


def test_hinge_is_the_mean_violation_over_all_pairs() -> None:
    violations = [0.5 + 0.6 - 0.9, 0.5 + 0.2 - 0.3, 0.5 + 0.8 - 0.3]
    found = pairwise_hinge(SCORES, POSITIVE, NEGATIVE, margin=0.5)
    assert found.item() == pytest.approx(sum(violations) / 3)


def test_hinge_is_zero_where_every_pair_keeps_the_margin() -> None:
    scores = torch.tensor([[1.0, 0.4, 0.1]], requires_grad=True)
    loss = pairwise_hinge(scores, POSITIVE[:1], ~POSITIVE[:1], margin=0.5)
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_contrastive_averages_pull_and_push_apart() -> None:
    pull = ((1 - 0.9) ** 2 + (1 - 0.3) ** 2) / 2
    # Distances 0.4, 0.8 and 0.2 against a margin of 0.5.
    push = (0.1**2 + 0.0**2 + 0.3**2) / 3
    found = contrastive(SCORES, POSITIVE, NEGATIVE, margin=0.5)
    assert found.item() == pytest.approx(pull + push)


def test_infonce_is_the_cross_entropy_of_the_positive() -> None:
    first = math.log(math.exp(0.9 / 0.5) + math.exp(0.6 / 0.5)) - 0.9 / 0.5
    second = math.log(sum(math.exp(s / 0.5) for s in (0.2, 0.8, 0.3))) - 0.3 / 0.5
    found = infonce(SCORES, POSITIVE, NEGATIVE, temperature=0.5)
    assert found.item() == pytest.approx((first + second) / 2)


def test_infonce_averages_over_several_positives() -> None:
    positive = torch.tensor([[True, True, False]])
    scores = torch.tensor([[0.3, 0.7, 0.1]])
    total = math.log(sum(math.exp(s / 0.5) for s in (0.3, 0.7, 0.1)))
    expected = ((total - 0.3 / 0.5) + (total - 0.7 / 0.5)) / 2
    found = infonce(scores, positive, ~positive, temperature=0.5)
    assert found.item() == pytest.approx(expected)


def test_infonce_is_least_where_several_positives_share_the_probability() -> None:
    positive = torch.tensor([[True, True, False]])

    def at(first: float, second: float) -> float:
        scores = torch.tensor([[first, second, -5.0]])
        return infonce(scores, positive, ~positive, temperature=0.1).item()

    assert at(0.5, 0.5) == pytest.approx(math.log(2), abs=1e-6)
    assert at(0.5, 0.5) < at(0.6, 0.4)


def test_infonce_of_equal_scores_is_the_log_of_their_number() -> None:
    positive = torch.tensor([[True, False, False, False, False]])
    found = infonce(torch.full((1, 5), 0.3), positive, ~positive, temperature=0.02)
    assert found.item() == pytest.approx(math.log(5))


def test_infonce_does_not_change_when_all_scores_are_raised() -> None:
    torch.testing.assert_close(
        infonce(SCORES + 0.7, POSITIVE, NEGATIVE, 0.1), infonce(SCORES, POSITIVE, NEGATIVE, 0.1)
    )


def symmetric(seed: int, n: int = 6) -> Tensor:
    matrix = torch.rand(n, n, generator=torch.Generator().manual_seed(seed))
    return (matrix + matrix.T) / 2


def test_affinities_that_are_the_cosines_do_not_diverge_and_others_do() -> None:
    cosine = symmetric(0)
    assert neighbour_divergence(cosine, cosine, 0.1).item() == pytest.approx(0.0, abs=1e-6)
    assert neighbour_divergence(symmetric(1), cosine, 0.1).item() > 0.01


def test_the_divergence_is_the_mean_kl_over_texts() -> None:
    cosine, affinity = symmetric(0, n=4).double(), symmetric(1, n=4).double()

    def shares(row: list[float], own: int) -> list[float]:
        weights = [0.0 if j == own else math.exp(value / 0.1) for j, value in enumerate(row)]
        return [weight / sum(weights) for weight in weights]

    expected = 0.0
    for i in range(4):
        target, current = (shares(m[i].tolist(), i) for m in (cosine, affinity))
        pairs = zip(target, current, strict=True)
        expected += sum(t * math.log(t / c) for t, c in pairs if t) / 4
    assert neighbour_divergence(affinity, cosine, 0.1).item() == pytest.approx(expected)


def test_a_text_s_affinity_with_itself_does_not_count() -> None:
    cosine, affinity = symmetric(0), symmetric(1)
    changed = affinity.clone().fill_diagonal_(1.0)
    torch.testing.assert_close(
        neighbour_divergence(changed, cosine, 0.1), neighbour_divergence(affinity, cosine, 0.1)
    )


def test_following_the_divergence_downhill_reaches_the_cosine_neighbours() -> None:
    cosine = symmetric(0)
    affinity = symmetric(1).requires_grad_()
    before = neighbour_divergence(affinity, cosine, 0.1)
    before.backward()
    assert affinity.grad is not None
    after = neighbour_divergence(affinity.detach() - 0.01 * affinity.grad, cosine, 0.1)
    assert after.item() < before.item()


def test_a_single_text_has_no_neighbours_to_diverge_from() -> None:
    one = torch.ones(1, 1)
    assert neighbour_divergence(one, one, 0.05).item() == 0.0


def test_an_unknown_loss_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=", ".join(LOSSES)):
        make_loss("regret", margin=0.5, temperature=0.1)
