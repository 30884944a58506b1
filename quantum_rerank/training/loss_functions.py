"""Ranking losses: pure functions of scores and of what should stand where.

All take `scores` (q, d) and two boolean masks of the same shape: `positive`
marks the documents that answer a query, `negative` those that should rank below
them. A document in neither is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, relu

Sampling = Literal["one", "sampled", "in_batch", "all_candidates"]


def pairwise_hinge(scores: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Mean over (positive, negative) pairs of max(0, margin + negative - positive).

    The triplet loss of Schroff et al., "FaceNet", CVPR 2015, on scores in the
    place of distances; takes one positive per query.

    >>> scores = torch.tensor([[0.9, 0.6, 0.1]])
    >>> positive = torch.tensor([[True, False, False]])
    >>> round(pairwise_hinge(scores, positive, ~positive, margin=0.5).item(), 4)
    0.1
    """
    target = (scores * positive).sum(dim=1, keepdim=True)
    violations = relu(margin + scores - target)
    return (violations * negative).sum() / negative.sum().clamp(min=1)


def contrastive(scores: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Pull positives to distance 0 and push negatives beyond the margin.

    Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant
    Mapping", CVPR 2006, with the distance 1 - score; each side is averaged.

    >>> scores = torch.tensor([[0.9, 0.6, 0.1]])
    >>> positive = torch.tensor([[True, False, False]])
    >>> round(contrastive(scores, positive, ~positive, margin=0.5).item(), 4)
    0.015
    """
    distance = 1.0 - scores
    pull = (distance**2 * positive).sum() / positive.sum().clamp(min=1)
    push = (relu(margin - distance) ** 2 * negative).sum() / negative.sum().clamp(min=1)
    return pull + push


def infonce(scores: Tensor, positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """Cross entropy of the positives against all that stand beside them.

    Van den Oord, Li and Vinyals, "Representation Learning with Contrastive
    Predictive Coding", 2018; with several positives the target is uniform over them.

    >>> scores = torch.tensor([[0.9, 0.9]])
    >>> positive = torch.tensor([[True, False]])
    >>> round(infonce(scores, positive, ~positive, temperature=0.02).item(), 4)
    0.6931
    """
    logits = (scores / temperature).masked_fill(~(positive | negative), -torch.inf)
    log_probability = log_softmax(logits, dim=1).masked_fill(~positive, 0.0)
    return -(log_probability.sum(dim=1) / positive.sum(dim=1).clamp(min=1)).mean()


def neighbour_divergence(affinity: Tensor, cosine: Tensor, temperature: float) -> Tensor:
    """How far the affinities within a batch are from following the cosine neighbours.

    KL(softmax(cosine / t) || softmax(affinity / t)) per text, the text itself left
    out; both (n, n). Needs no judgment: it warms up a model on a bare corpus.
    """
    itself = torch.eye(len(cosine), dtype=torch.bool)
    target = log_softmax((cosine / temperature).masked_fill(itself, -1e9), dim=1)
    current = log_softmax((affinity / temperature).masked_fill(itself, -1e9), dim=1)
    return kl_div(current, target, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class Loss:
    """A loss of (scores, positive, negative), and the documents that it wants to see.

    sampling: `one` random candidate as negative; `sampled`, several of them;
        `in_batch`, those and the other queries' documents too; `all_candidates`,
        every candidate of every query of the batch, each text simulated once.
    """

    compute: Callable[[Tensor, Tensor, Tensor], Tensor]
    sampling: Sampling


def make_loss(name: str, margin: float, temperature: float) -> Loss:
    """Build a loss by name; each uses the margin or the temperature, not both."""

    def hinge(scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return pairwise_hinge(scores, positive, negative, margin)

    def pull_and_push(scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return contrastive(scores, positive, negative, margin)

    def cross_entropy(scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return infonce(scores, positive, negative, temperature)

    losses = {
        "triplet": Loss(hinge, "one"),
        "margin_ranking": Loss(hinge, "sampled"),
        "contrastive": Loss(pull_and_push, "sampled"),
        "infonce": Loss(cross_entropy, "in_batch"),
        "infonce_candidates": Loss(cross_entropy, "all_candidates"),
    }
    if name not in losses:
        raise ValueError(f"`{name}` is no loss. Known: {', '.join(losses)}.")
    return losses[name]
