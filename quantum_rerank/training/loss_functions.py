"""Ranking losses: pure functions of scores and of what should stand where.

All take `scores` (q, d) and integer `grades` of the same shape, a document's judged
relevance to a query: above 0 it answers the query, the more the better; at 0 it should
rank below those that do; `LEFT_ALONE` it counts for nothing. Every query has a document
that answers it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, relu, softmax

Sampling = Literal["one", "sampled", "in_batch", "all_candidates"]

LEFT_ALONE = -1
"""The grade of a document that a loss does not look at."""


def pairwise_hinge(scores: Tensor, grades: Tensor, margin: float) -> Tensor:
    """Mean over (positive, negative) pairs of max(0, margin + negative - positive).

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
    """Cross entropy of the positives against all that stand beside them.

    Van den Oord, Li and Vinyals, "Representation Learning with Contrastive
    Predictive Coding", 2018; with several positives the target is uniform over them.
    label_smoothing: the share of the target that is spread over all documents alike;
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
    """Log of the softmax over each query's documents, -inf for those left alone."""
    return log_softmax((scores / temperature).masked_fill(grades < 0, -torch.inf), dim=1)


def _mean_entropy(log_shares: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of targets uniform over some documents, its mean over queries."""
    wanted = log_shares.masked_fill(~target, 0.0)
    return -(wanted.sum(dim=1) / target.sum(dim=1).clamp(min=1)).mean()


def listnet(scores: Tensor, grades: Tensor, temperature: float, grade_temperature: float) -> Tensor:
    """Cross entropy of what the scores would put first against what the grades would.

    Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML
    2007: the softmax of grades / grade_temperature is the target of that of scores /
    temperature. Grades count from 0, scores end at 1, so each has a temperature of its own.

    >>> scores, grades = torch.tensor([[0.9, 0.6, 0.1]]), torch.tensor([[2, 1, 0]])
    >>> round(listnet(scores, grades, temperature=0.5, grade_temperature=1.0).item(), 4)
    0.8509
    """
    log_shares = _log_shares(scores, grades, temperature).masked_fill(grades < 0, 0.0)
    wanted = (grades.to(scores.dtype) / grade_temperature).masked_fill(grades < 0, -torch.inf)
    return -(softmax(wanted, dim=1) * log_shares).sum(dim=1).mean()


def approx_ndcg(scores: Tensor, grades: Tensor, temperature: float) -> Tensor:
    """1 - NDCG over all documents, with ranks that have a gradient.

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
    own = scores[queries, places][:, None]
    ahead = torch.sigmoid((scores[queries] - own) / temperature) * (grades[queries] >= 0)
    ranks = 0.5 + ahead.sum(dim=1)  # among them is its own sigmoid(0), a half
    gains = grades[queries, places] / torch.log2(1.0 + ranks)
    found = scores.new_zeros(len(scores)).index_add(0, queries, gains)
    best = grades.clamp(min=0).sort(dim=1, descending=True).values
    discounts = torch.log2(torch.arange(2, grades.shape[1] + 2, dtype=scores.dtype))
    # A grade is a whole number, so that less than 1 is a query that nothing answers.
    return 1.0 - (found / (best / discounts).sum(dim=1).clamp(min=1.0)).mean()


def neighbour_divergence(affinity: Tensor, cosine: Tensor, temperature: float) -> Tensor:
    """How far the affinities within a batch are from following the cosine neighbours.

    KL(softmax(cosine / t) || softmax(affinity / t)) per text, the text itself left
    out; both (n, n). Needs no judgment: it warms up a model on a bare corpus.

    >>> cosine = torch.tensor([[1.0, 0.9, 0.8], [0.9, 1.0, 0.9], [0.8, 0.9, 1.0]])
    >>> round(neighbour_divergence(torch.ones(3, 3), cosine, temperature=0.1).item(), 4)
    0.074
    """
    itself = torch.eye(len(cosine), dtype=torch.bool)
    target = log_softmax((cosine / temperature).masked_fill(itself, -1e9), dim=1)
    current = log_softmax((affinity / temperature).masked_fill(itself, -1e9), dim=1)
    return kl_div(current, target, reduction="batchmean", log_target=True)


def spread_shortfall(affinity: Tensor, target: float) -> Tensor:
    """How much the affinities of random pairs spread less than they should.

    max(0, target - standard deviation over pairs of two texts); affinity (n, n). Against
    saturation: a circuit that gives all texts one state has fidelities of 1 and no gradient.

    >>> affinity = torch.tensor([[1.0, 0.2, 0.4], [0.2, 1.0, 0.3], [0.4, 0.3, 1.0]])
    >>> round(spread_shortfall(affinity, target=0.1).item(), 4)
    0.0184
    """
    one, other = torch.triu_indices(len(affinity), len(affinity), offset=1)
    if len(one) < 2:
        return affinity.new_zeros(())  # a single pair has no spread that could be too small
    return relu(target - affinity[one, other].std(correction=0))


def simcse_loss(affinity: Tensor, temperature: float) -> Tensor:
    """Cross entropy of each text's second view against the second views of the others.

    Gao, Yao and Chen, "SimCSE: Simple Contrastive Learning of Sentence Embeddings", EMNLP
    2021: a view is what one dropout mask leaves of a text, here of what its state is
    predicted from. Without dropout both are the same, and only the others are pushed away.

    affinity: (n, n), the first view of each text with the second view of each.

    >>> affinity = torch.tensor([[0.9, 0.8], [0.7, 1.0]])
    >>> round(simcse_loss(affinity, temperature=0.1).item(), 4)
    0.1809
    """
    return cross_entropy(affinity / temperature, torch.arange(len(affinity)))


@dataclass(frozen=True)
class Loss:
    """A loss of (scores, grades), and the documents that it wants to see.

    sampling: `one` random candidate as negative; `sampled`, several of them;
        `in_batch`, those and the other queries' documents too; `all_candidates`,
        every candidate of every query of the batch, each text simulated once.
    spread_weight, simcse_weight: of the `spread_shortfall` and of the `simcse_loss` of the
        batch's documents beside it.
    """

    compute: Callable[[Tensor, Tensor], Tensor]
    sampling: Sampling
    spread_weight: float = 0.0
    spread_target: float = 0.0
    simcse_weight: float = 0.0
    simcse_temperature: float = 1.0

    def per_query(self, scores: Tensor, grades: Tensor) -> Tensor:
        """The loss of each query by itself, (q,), without a gradient."""
        each = zip(scores.detach(), grades, strict=True)
        return torch.stack([self.compute(one[None], theirs[None]) for one, theirs in each])


def make_loss(
    name: str,
    margin: float,
    temperature: float,
    label_smoothing: float = 0.0,
    grade_temperature: float = 0.1,
    spread_weight: float = 0.0,
    spread_target: float = 0.0,
    simcse_weight: float = 0.0,
    simcse_temperature: float = 1.0,
) -> Loss:
    """Build a loss by name; each uses those of the numbers that it has."""
    hinge = partial(pairwise_hinge, margin=margin)
    entropy = partial(infonce, temperature=temperature, label_smoothing=label_smoothing)
    by_grades = partial(listnet, temperature=temperature, grade_temperature=grade_temperature)
    losses: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Sampling]] = {
        "triplet": (hinge, "one"),
        "margin_ranking": (hinge, "sampled"),
        "contrastive": (partial(contrastive, margin=margin), "sampled"),
        "infonce": (entropy, "in_batch"),
        "infonce_candidates": (entropy, "all_candidates"),
        "listnet": (by_grades, "all_candidates"),
        "approx_ndcg": (partial(approx_ndcg, temperature=temperature), "all_candidates"),
    }
    if name not in losses:
        raise ValueError(f"`{name}` is no loss. Known: {', '.join(losses)}.")
    beside = (spread_weight, spread_target, simcse_weight, simcse_temperature)
    return Loss(*losses[name], *beside)
