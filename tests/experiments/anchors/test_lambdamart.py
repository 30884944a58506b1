from __future__ import annotations

import sys

import numpy as np
import pytest

from experiments.anchors.lambdamart import (
    features,
    features_of,
    groups,
    require_lightgbm,
    train_lambdamart,
)
from quantum_rerank.config import DataConfig
from quantum_rerank.errors import MissingExtra
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.trial_data import PreparedData


def test_features_are_scores_and_their_ranks_within_a_query() -> None:
    cosine, lexical = np.array([[0.9, 0.5], [0.2, 0.1]]), np.array([[0.0, 1.0], [0.5, 0.5]])
    rows = features(cosine, lexical, np.zeros((2, 2)))
    assert rows[0].tolist() == [[0.9, 0.0, 0.0, 1.0, 2.0, 1.5], [0.5, 1.0, 0.0, 2.0, 1.0, 1.5]]
    assert rows[1].tolist() == [[0.2, 0.5, 0.0, 1.0, 1.5, 1.5], [0.1, 0.5, 0.0, 2.0, 1.5, 1.5]]


def test_a_query_is_a_group_with_a_row_for_each_candidate(
    with_texts: PreparedData, anchor_data: DataConfig
) -> None:
    train = with_texts.trial.train
    rows = [features_of(queries, Bm25(anchor_data)) for queries in train]
    assert groups(train) == [12] * sum(len(queries.query_ids) for queries in train)
    assert [of_set.shape for of_set in rows] == [(len(q.query_ids), 12, 6) for q in train]
    assert (rows[0][..., 0] == train[0].cosine).all()
    assert (rows[0][..., 3] == np.arange(1, 13)).all()  # candidates are in the cosine's order


def test_more_than_one_grade_is_learned_from(
    with_texts: PreparedData, anchor_data: DataConfig
) -> None:
    pytest.importorskip("lightgbm")
    model = train_lambdamart(with_texts.trial, Bm25(anchor_data), 1, "ndcg@10")
    queries = with_texts.test[0]
    assert model.affinities(queries).shape == queries.candidates.shape
    assert 0.0 < model.objective <= 1.0


def test_without_lightgbm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'quantum-rerank\[anchors\]'"):
        require_lightgbm()
