from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from quantum_rerank.evaluation import NDCG, CandidateMetrics
from quantum_rerank.training.config import LOSSES, LossConfig
from quantum_rerank.training.loss_functions import (
    LEFT_ALONE,
    Loss,
    approx_ndcg,
    contrastive,
    infonce,
    listnet,
    neighbour_divergence,
    pairwise_hinge,
    simcse_loss,
    spread_shortfall,
)
from quantum_rerank.training.losses import make_loss

every_loss = pytest.mark.parametrize("name", LOSSES)

SCORES = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.8, 0.3]])
GRADES = torch.tensor([[1, 0, LEFT_ALONE], [0, 0, 2]])
ONE_OF_FIVE = torch.tensor([[1, 0, 0, 0, 0]])


def any_loss(name: str) -> Loss:
    """Every number of every loss at work."""
    return make_loss(
        LossConfig(
            name=name, margin=0.9, temperature=0.5, label_smoothing=0.1, grade_temperature=0.5
        )
    )


@every_loss
def test_raising_a_positive_or_lowering_a_negative_never_makes_it_worse(name: str) -> None:
    scores = SCORES.clone().requires_grad_()
    make_loss(LossConfig(name=name, margin=0.9, temperature=0.5)).compute(scores, GRADES).backward()
    assert scores.grad is not None
    assert (scores.grad[GRADES > 0] < 0).all()
    assert (scores.grad[GRADES == 0] >= 0).all()
    assert (scores.grad[GRADES == 0] > 0).any()


@every_loss
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    loss = any_loss(name)
    scores = SCORES.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss.compute(x, GRADES), scores)


@every_loss
def test_a_document_that_is_left_alone_counts_for_nothing(name: str) -> None:
    loss = any_loss(name)
    scores = SCORES.clone().requires_grad_()
    value = loss.compute(scores, GRADES)
    value.backward()
    assert scores.grad is not None
    assert (scores.grad[GRADES == LEFT_ALONE] == 0).all()
    moved = SCORES.clone()
    moved[GRADES == LEFT_ALONE] = 0.99
    torch.testing.assert_close(loss.compute(moved, GRADES), value.detach())
    without = loss.compute(SCORES[:1, :2], GRADES[:1, :2])
    torch.testing.assert_close(loss.compute(SCORES[:1], GRADES[:1]), without)


@every_loss
def test_a_query_without_negatives_gives_a_finite_loss_and_gradient(name: str) -> None:
    scores = SCORES.clone().requires_grad_()
    alone = GRADES.where(GRADES > 0, LEFT_ALONE)
    value = make_loss(LossConfig(name=name, margin=0.5, temperature=0.02)).compute(scores, alone)
    value.backward()
    assert math.isfinite(value.item())
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


@every_loss
def test_the_order_of_queries_and_documents_does_not_matter(name: str) -> None:
    loss = any_loss(name)
    rows, columns = torch.tensor([1, 0]), torch.tensor([2, 0, 1])

    def shuffled(matrix: Tensor) -> Tensor:
        return matrix[rows][:, columns]

    torch.testing.assert_close(
        loss.compute(shuffled(SCORES), shuffled(GRADES)), loss.compute(SCORES, GRADES)
    )


@every_loss
def test_the_loss_of_each_query_is_that_of_a_batch_of_it_alone(name: str) -> None:
    loss = any_loss(name)
    each = loss.per_query(SCORES.clone().requires_grad_(), GRADES)
    assert not each.requires_grad
    for row in range(2):
        one = slice(row, row + 1)
        torch.testing.assert_close(each[row], loss.compute(SCORES[one], GRADES[one]))


def test_hinge_is_the_mean_violation_over_all_pairs() -> None:
    violations = [0.5 + 0.6 - 0.9, 0.5 + 0.2 - 0.3, 0.5 + 0.8 - 0.3]
    found = pairwise_hinge(SCORES, GRADES, margin=0.5)
    assert found.item() == pytest.approx(sum(violations) / 3)


def test_hinge_is_zero_where_every_pair_keeps_the_margin() -> None:
    scores = torch.tensor([[1.0, 0.4, 0.1]], requires_grad=True)
    loss = pairwise_hinge(scores, torch.tensor([[1, 0, 0]]), margin=0.5)
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_contrastive_averages_pull_and_push_apart() -> None:
    pull = ((1 - 0.9) ** 2 + (1 - 0.3) ** 2) / 2
    # Distances 0.4, 0.8 and 0.2 against a margin of 0.5.
    push = (0.1**2 + 0.0**2 + 0.3**2) / 3
    found = contrastive(SCORES, GRADES, margin=0.5)
    assert found.item() == pytest.approx(pull + push)


def test_infonce_is_the_cross_entropy_of_the_positive() -> None:
    first = math.log(math.exp(0.9 / 0.5) + math.exp(0.6 / 0.5)) - 0.9 / 0.5
    second = math.log(sum(math.exp(s / 0.5) for s in (0.2, 0.8, 0.3))) - 0.3 / 0.5
    found = infonce(SCORES, GRADES, temperature=0.5)
    assert found.item() == pytest.approx((first + second) / 2)


def test_infonce_averages_over_several_positives() -> None:
    grades = torch.tensor([[1, 1, 0]])
    scores = torch.tensor([[0.3, 0.7, 0.1]])
    total = math.log(sum(math.exp(s / 0.5) for s in (0.3, 0.7, 0.1)))
    expected = ((total - 0.3 / 0.5) + (total - 0.7 / 0.5)) / 2
    found = infonce(scores, grades, temperature=0.5)
    assert found.item() == pytest.approx(expected)


def test_infonce_is_least_where_several_positives_share_the_probability() -> None:
    grades = torch.tensor([[1, 1, 0]])

    def at(first: float, second: float) -> float:
        scores = torch.tensor([[first, second, -5.0]])
        return infonce(scores, grades, temperature=0.1).item()

    assert at(0.5, 0.5) == pytest.approx(math.log(2), abs=1e-6)
    assert at(0.5, 0.5) < at(0.6, 0.4)


def test_infonce_of_equal_scores_is_the_log_of_their_number() -> None:
    found = infonce(torch.full((1, 5), 0.3), ONE_OF_FIVE, temperature=0.02)
    assert found.item() == pytest.approx(math.log(5))


def test_infonce_does_not_change_when_all_scores_are_raised() -> None:
    torch.testing.assert_close(infonce(SCORES + 0.7, GRADES, 0.1), infonce(SCORES, GRADES, 0.1))


def test_smoothed_labels_ask_for_a_share_of_every_document_that_is_not_left_alone() -> None:
    # Where the scores' shares are the smoothed target itself, nothing is left to gain.
    target = torch.tensor([[0.8 + 0.2 / 4, 0.2 / 4, 0.2 / 4, 0.2 / 4, 0.5]], dtype=torch.float64)
    scores = (0.1 * target.log()).requires_grad_()
    grades = torch.tensor([[1, 0, 0, 0, LEFT_ALONE]])
    infonce(scores, grades, temperature=0.1, label_smoothing=0.2).backward()
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, torch.zeros_like(scores))


def test_without_smoothing_every_gain_of_the_positive_is_a_gain() -> None:
    sure = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]])
    surer = torch.tensor([[1.0, -1.0, -1.0, -1.0, -1.0]])

    def gained(smoothing: float) -> bool:
        before, after = (infonce(s, ONE_OF_FIVE, 0.1, smoothing) for s in (sure, surer))
        return bool(after < before)

    assert gained(0.0)
    assert not gained(0.1)


def test_listnet_is_least_where_the_scores_are_the_grades() -> None:
    grades = torch.tensor([[3, 1, 0, 2]])
    scores = (0.2 * grades.double() / 0.7 + 0.4).requires_grad_()
    value = listnet(scores, grades, temperature=0.2, grade_temperature=0.7)
    value.backward()
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, torch.zeros_like(scores))
    shares = torch.softmax(grades.double() / 0.7, dim=1)
    assert value.item() == pytest.approx(-(shares * shares.log()).sum().item())


def test_listnet_of_one_grade_and_a_cold_target_is_infonce() -> None:
    grades = torch.tensor([[1, 0, 1], [0, 0, 1]])
    torch.testing.assert_close(
        listnet(SCORES, grades, 0.1, grade_temperature=0.01), infonce(SCORES, grades, 0.1)
    )


def test_approximate_ranks_at_a_low_temperature_give_the_ndcg_that_is_measured() -> None:
    rng = torch.Generator().manual_seed(3)
    scores = torch.rand(6, 10, generator=rng, dtype=torch.float64)
    grades = torch.randint(0, 4, (6, 10), generator=rng)
    metrics = CandidateMetrics(grades.numpy(), grades.tolist())
    expected = metrics.values(NDCG, metrics.ranks(scores.numpy())).mean()
    assert approx_ndcg(scores, grades, temperature=1e-6).item() == pytest.approx(1 - expected)


@pytest.mark.parametrize("name", ["listnet", "approx_ndcg"])
def test_putting_the_better_grade_first_is_worth_more(name: str) -> None:
    loss, grades = any_loss(name), torch.tensor([[2, 1, 0]])
    ranked, swapped, upside_down = (
        loss.compute(torch.tensor([scores]), grades).item()
        for scores in ([0.9, 0.5, 0.1], [0.5, 0.9, 0.1], [0.1, 0.5, 0.9])
    )
    assert ranked < swapped < upside_down


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


@pytest.mark.parametrize(
    "term",
    [
        lambda affinity: neighbour_divergence(affinity, symmetric(0).double(), 0.1),
        lambda affinity: spread_shortfall(affinity, target=0.5),
        lambda affinity: simcse_loss(affinity, temperature=0.2),
    ],
)
def test_the_gradient_of_a_term_beside_the_loss_is_that_of_finite_differences(
    term: Callable[[Tensor], Tensor],
) -> None:
    assert torch.autograd.gradcheck(term, symmetric(1).double().requires_grad_())


def test_affinities_that_spread_enough_cost_nothing() -> None:
    affinity = symmetric(0)
    one, other = torch.triu_indices(6, 6, offset=1)
    spread = affinity[one, other].std(correction=0).item()
    assert spread_shortfall(affinity, spread / 2).item() == 0.0
    assert spread_shortfall(affinity, spread + 0.1).item() == pytest.approx(0.1)


def test_a_text_s_affinity_with_itself_is_no_spread() -> None:
    affinity = torch.full((4, 4), 0.3).fill_diagonal_(1.0)
    assert spread_shortfall(affinity, 0.2).item() == pytest.approx(0.2)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_saturated_affinities_have_a_finite_gradient(n: int) -> None:
    affinity = torch.ones(n, n, requires_grad=True)
    (spread_shortfall(affinity, 0.1) + affinity.sum()).backward()
    assert affinity.grad is not None
    assert affinity.grad.isfinite().all()


def test_following_the_shortfall_downhill_spreads_affinities() -> None:
    affinity = (0.9 + 0.01 * symmetric(0)).requires_grad_()
    before = spread_shortfall(affinity, 0.2)
    before.backward()
    assert affinity.grad is not None
    assert spread_shortfall(affinity.detach() - affinity.grad, 0.2).item() < before.item()


def test_views_that_are_told_apart_cost_nothing_and_views_that_are_all_alike_the_most() -> None:
    apart, alike, mixed_up = torch.eye(4), torch.ones(4, 4), torch.eye(4).roll(1, 0)
    assert simcse_loss(apart, 0.05).item() == pytest.approx(0.0, abs=1e-6)
    assert simcse_loss(alike, 0.05).item() == pytest.approx(math.log(4))
    assert simcse_loss(mixed_up, 0.05).item() == pytest.approx(1 / 0.05)


def test_a_single_text_s_view_has_none_to_be_told_from() -> None:
    assert simcse_loss(torch.full((1, 1), 0.3), 0.05).item() == 0.0


def test_an_unknown_loss_lists_all_losses() -> None:
    with pytest.raises(ValueError, match=", ".join(f"'{name}'" for name in LOSSES)):
        LossConfig(name="regret")
