"""Ranking losses: pure functions of scores and grades.

All take `scores` (q, d) and integer `grades` of the same shape, a document's judged
relevance to a query: above 0 it answers the query, the more the better; at 0 it should
rank below those that do; at `LEFT_ALONE` the loss ignores it. Every query has a document
that answers it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, relu, softmax

Sampling = Literal["one", "sampled", "in_batch", "all_candidates"]

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""A function of scores and grades, (q, d) each, to a scalar."""

LEFT_ALONE = -1
"""The grade of a document that a loss ignores."""


def pairwise_hinge(scores: Tensor, grades: Tensor, margin: float) -> Tensor:
    """Return the mean over (positive, negative) pairs of max(0, margin + negative - positive).

    The triplet loss of Schroff et al., "FaceNet", CVPR 2015, on scores in the
    place of distances; takes one positive per query.

    >>> scores = torch.tensor([[0.9, 0.6, 0.1]])
    >>> round(pairwise_hinge(scores, torch.tensor([[1, 0, 0]]), margin=0.5).item(), 4)
    0.1
    """
    positive, negative = grades > 0, grades == 0
    target = (scores * positive).sum(dim=1, keepdim=True)
    violations = relu(margin + scores - target)
    return (violations * negative).sum() / negative.sum().clamp(min=1)


def contrastive(scores: Tensor, grades: Tensor, margin: float) -> Tensor:
    """Pull positives to distance 0 and push negatives beyond the margin.

    Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant
    Mapping", CVPR 2006, with the distance 1 - score; each side is averaged.

    >>> scores = torch.tensor([[0.9, 0.6, 0.1]])
    >>> round(contrastive(scores, torch.tensor([[1, 0, 0]]), margin=0.5).item(), 4)
    0.015
    """
    positive, negative = grades > 0, grades == 0
    distance = 1.0 - scores
    pull = (distance**2 * positive).sum() / positive.sum().clamp(min=1)
    push = (relu(margin - distance) ** 2 * negative).sum() / negative.sum().clamp(min=1)
    return pull + push


def infonce(
    scores: Tensor, grades: Tensor, temperature: float, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross entropy of the positives against all documents of their queries.

    Van den Oord, Li and Vinyals, "Representation Learning with Contrastive
    Predictive Coding", 2018; with several positives the target is uniform over them.

    Args:
        scores: (q, d).
        grades: (q, d).
        temperature: Divisor of the scores.
        label_smoothing: Share of the target that is spread over all documents alike;
            Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016.

    >>> scores, grades = torch.tensor([[0.9, 0.8]]), torch.tensor([[1, 0]])
    >>> round(infonce(scores, grades, temperature=0.1).item(), 4)
    0.3133
    >>> round(infonce(scores, grades, temperature=0.1, label_smoothing=0.2).item(), 4)
    0.4133
    """
    positive = grades > 0
    log_shares = _log_shares(scores, grades, temperature)
    loss = _mean_entropy(log_shares, positive)
    if label_smoothing:
        uniform = _mean_entropy(log_shares, grades >= 0)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * uniform
    return loss


def _log_shares(scores: Tensor, grades: Tensor, temperature: float) -> Tensor:
    """Return the log-softmax over each query's documents, -inf for those left alone."""
    return log_softmax((scores / temperature).masked_fill(grades < 0, -torch.inf), dim=1)


def _mean_entropy(log_shares: Tensor, target: Tensor) -> Tensor:
    """Return the mean over queries of the cross entropy with uniform targets."""
    targeted = log_shares.masked_fill(~target, 0.0)
    return -(targeted.sum(dim=1) / target.sum(dim=1).clamp(min=1)).mean()


def listnet(scores: Tensor, grades: Tensor, temperature: float, grade_temperature: float) -> Tensor:
    """Return the cross entropy of the top-one probabilities by scores and by grades.

    Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML
    2007: the softmax of grades / grade_temperature is the target of that of scores /
    temperature. Grades count from 0, scores end at 1, so each has a temperature of its own.

    >>> scores, grades = torch.tensor([[0.9, 0.6, 0.1]]), torch.tensor([[2, 1, 0]])
    >>> round(listnet(scores, grades, temperature=0.5, grade_temperature=1.0).item(), 4)
    0.8509
    """
    log_shares = _log_shares(scores, grades, temperature).masked_fill(grades < 0, 0.0)
    gains = (grades.to(scores.dtype) / grade_temperature).masked_fill(grades < 0, -torch.inf)
    return -(softmax(gains, dim=1) * log_shares).sum(dim=1).mean()


def approx_ndcg(scores: Tensor, grades: Tensor, temperature: float) -> Tensor:
    """Return 1 - NDCG over all documents, with ranks that have a gradient.

    Qin, Liu and Li, "A General Approximation Framework for Direct Optimization of
    Information Retrieval Measures", Information Retrieval 13, 2010: a document's rank is
    1 and, for each other, sigmoid((its score - this one's) / temperature). The gain is the
    grade itself, as in the NDCG that is measured. Only relevant documents have a gain, so
    only theirs are the ranks computed: (p, d), not (q, d, d).

    >>> scores, grades = torch.tensor([[0.9, 0.6, 0.1]]), torch.tensor([[0, 1, 0]])
    >>> round(approx_ndcg(scores, grades, temperature=0.01).item(), 4)  # 1 - 1 / log2(3)
    0.3691
    """
    queries, places = (grades > 0).nonzero(as_tuple=True)
    relevant = scores[queries, places][:, None]
    ahead = torch.sigmoid((scores[queries] - relevant) / temperature) * (grades[queries] >= 0)
    ranks = 0.5 + ahead.sum(dim=1)  # the sum includes the document's sigmoid(0), a half
    gains = grades[queries, places] / torch.log2(1.0 + ranks)
    dcg = scores.new_zeros(len(scores)).index_add(0, queries, gains)
    best = grades.clamp(min=0).sort(dim=1, descending=True).values
    discounts = torch.log2(torch.arange(2, grades.shape[1] + 2, dtype=scores.dtype))
    # A grade is a whole number: a sum below 1 is that of a query without a relevant document.
    return 1.0 - (dcg / (best / discounts).sum(dim=1).clamp(min=1.0)).mean()


def neighbour_divergence(affinity: Tensor, cosine: Tensor, temperature: float) -> Tensor:
    """Return the divergence of affinities within a batch from the cosine neighbours.

    KL(softmax(cosine / t) || softmax(affinity / t)) per text, the text itself left
    out; both (n, n). It needs no judgments: it warms up a model on a bare corpus.

    >>> cosine = torch.tensor([[1.0, 0.9, 0.8], [0.9, 1.0, 0.9], [0.8, 0.9, 1.0]])
    >>> round(neighbour_divergence(torch.ones(3, 3), cosine, temperature=0.1).item(), 4)
    0.074
    """
    itself = torch.eye(len(cosine), dtype=torch.bool)
    target = log_softmax((cosine / temperature).masked_fill(itself, -1e9), dim=1)
    current = log_softmax((affinity / temperature).masked_fill(itself, -1e9), dim=1)
    return kl_div(current, target, reduction="batchmean", log_target=True)


def spread_shortfall(affinity: Tensor, target: float) -> Tensor:
    """Return the shortfall of the spread of random pairs' affinities.

    max(0, target - standard deviation over pairs of two texts); affinity (n, n). Against
    saturation: a circuit that gives all texts one state has fidelities of 1 and no gradient.

    >>> affinity = torch.tensor([[1.0, 0.2, 0.4], [0.2, 1.0, 0.3], [0.4, 0.3, 1.0]])
    >>> round(spread_shortfall(affinity, target=0.1).item(), 4)
    0.0184
    """
    rows, columns = torch.triu_indices(len(affinity), len(affinity), offset=1)
    if len(rows) < 2:
        return affinity.new_zeros(())  # a single pair has no spread that could be too small
    return relu(target - affinity[rows, columns].std(correction=0))


def simcse_loss(affinity: Tensor, temperature: float) -> Tensor:
    """Return the cross entropy of each text's second view against the second views of the rest.

    Gao, Yao and Chen, "SimCSE: Simple Contrastive Learning of Sentence Embeddings", EMNLP
    2021: a view of a text is its representation under one dropout mask. Without dropout both
    views are the same, and the loss only pushes texts apart.

    Args:
        affinity: (n, n), the first view of each text with the second view of each.
        temperature: Divisor of the affinities.

    >>> affinity = torch.tensor([[0.9, 0.8], [0.7, 1.0]])
    >>> round(simcse_loss(affinity, temperature=0.1).item(), 4)
    0.1809
    """
    return cross_entropy(affinity / temperature, torch.arange(len(affinity)))


@dataclass(frozen=True)
class Loss:
    """A loss of (scores, grades), and the documents that it needs.

    Attributes:
        compute: Maps scores and grades, (q, d) each, to a scalar.
        sampling: `one` random candidate as negative; `sampled`, several of them;
            `in_batch`, those and the other queries' documents too; `all_candidates`,
            every candidate of every query of the batch, each text simulated once.
    """

    compute: LossFunction
    sampling: Sampling

    def per_query(self, scores: Tensor, grades: Tensor) -> Tensor:
        """Return the loss of each query by itself, (q,), without a gradient."""
        rows = zip(scores.detach(), grades, strict=True)
        return torch.stack([self.compute(row[None], judged[None]) for row, judged in rows])
