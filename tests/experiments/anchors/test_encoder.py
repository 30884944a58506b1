from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.anchors.bert import joined
from experiments.anchors.encoder import EncoderSetup, Texts, affinities, fine_tune
from quantum_rerank.training.trial_data import PreparedData


def test_before_training_the_layers_give_the_cosine_of_the_encoder(
    texts: Texts, with_texts: PreparedData
) -> None:
    queries = with_texts.test[0]
    given = affinities(texts, texts.bert.trainable(), queries)
    assert given == pytest.approx(queries.cosine, abs=0.01)  # half precision


def test_a_text_is_embedded_alike_alone_and_beside_longer_ones(texts: Texts) -> None:
    states, layers = texts.queries["beir:park"], texts.bert.trainable().eval()
    with torch.inference_mode():
        alone = layers.embed(states, torch.tensor([3]))
        beside = layers.embed(states, torch.arange(len(states)))[3:4]
    torch.testing.assert_close(alone, beside, atol=5e-3, rtol=0.0)


def test_states_of_several_domains_are_joined_in_their_order(texts: Texts) -> None:
    park, forest = texts.documents["beir:park"], texts.documents["beir:forest"]
    both = joined([park, forest])
    assert len(both) == len(park) + len(forest)
    theirs, _ = both.padded(torch.tensor([len(park)]))
    assert theirs.equal(forest.padded(torch.tensor([0]))[0])


def test_the_best_epoch_is_kept_and_the_same_seed_gives_the_same_training(
    texts: Texts, with_texts: PreparedData
) -> None:
    setup = replace(EncoderSetup(), epochs=2, steps=2, learning_rate=1e-3)
    first, second = (
        fine_tune(setup, texts, with_texts.trial, seed=1, objective="ndcg@10") for _ in range(2)
    )
    queries = with_texts.test[0]
    assert first.history == second.history
    assert first.best_epoch == int(np.argmax(first.history))
    assert (first.affinities(queries) == second.affinities(queries)).all()
