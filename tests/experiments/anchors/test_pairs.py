from __future__ import annotations

import numpy as np
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from experiments.anchors.pairs import Judged, epoch_batches, ranking_loss
from quantum_rerank.training.trial_data import PreparedData


def test_documents_of_a_second_domain_are_numbered_after_those_of_the_first(
    with_texts: PreparedData,
) -> None:
    first, second = with_texts.trial.train
    judged = Judged.of([first, second], pool=5)
    n_queries, n_documents = len(first.query_ids), len(first.document_ids)
    assert (judged.positives[n_queries] == n_documents + second.positives[0]).all()
    assert all(len(rows) == 5 for rows in judged.negatives)


def test_negatives_are_candidates_that_are_not_relevant(with_texts: PreparedData) -> None:
    (queries, _) = with_texts.trial.train
    judged = Judged.of([queries], pool=50)
    for row, negatives in enumerate(judged.negatives):
        assert set(negatives) == set(queries.candidates[row]) - set(queries.positives[row])


def test_an_epoch_has_the_pairs_of_every_query_once() -> None:
    judged = Judged((np.array([0, 1, 2]), np.array([3])), (np.array([4]), np.array([5])))
    fewer = next(epoch_batches(judged, 8, pairs_per_query=2, rng=np.random.default_rng(0)))
    assert sorted(fewer.queries.tolist()) == [0, 0, 1]
    whole = list(epoch_batches(judged, 8, pairs_per_query=3, rng=np.random.default_rng(0)))
    pairs = zip(whole[0].queries.tolist(), whole[0].documents[:4].tolist(), strict=True)
    assert set(pairs) == {(0, 0), (0, 1), (0, 2), (1, 3)}
    of_first = whole[0].is_relevant[whole[0].queries == 0]
    assert (of_first.sum(dim=1) == 3).all()


def test_the_loss_is_that_of_sentence_transformers_where_no_other_document_is_relevant() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, documents = (
        torch.nn.functional.normalize(torch.randn(n, 8, generator=generator), dim=-1)
        for n in (3, 6)
    )
    theirs = MultipleNegativesRankingLoss(torch.nn.Identity())
    expected = theirs.compute_loss_from_embeddings([queries, *documents.split(3)], None)
    own = torch.eye(3, 6, dtype=torch.bool)
    torch.testing.assert_close(ranking_loss(queries @ documents.T, own), expected)
