from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.anchors.measuring import fuse_with_first_stage, measure_anchor, rows_of
from experiments.anchors.plan import ENCODER_BM25
from experiments.measuring import measure
from experiments.plan import Task
from experiments.results import Results
from quantum_rerank.training.trial_data import PreparedData

COLLECTIONS = {"test": "seen", "unseen_test": "unseen"}


@pytest.mark.parametrize("model", ["lambdamart", "encoder"])
def test_an_anchor_is_tested_on_the_queries_of_the_experiments(
    task: Callable[..., Task], tmp_path: Path, model: str
) -> None:
    if model == "lambdamart":
        pytest.importorskip("lightgbm")
    anchor = task(model)
    result = measure_anchor(anchor, COLLECTIONS, tmp_path)
    cosine = measure(task("cosine"), COLLECTIONS, tmp_path)
    for row in rows_of(result):
        for collection, scores in cosine.scores.items():
            assert row.scores[collection].domains == scores.domains
    again = Results(tmp_path).of(anchor, result.record["fingerprint"])
    assert again is not None
    assert again.record == result.record


def test_the_encoder_has_a_second_row(task: Callable[..., Task], tmp_path: Path) -> None:
    alone, beside = rows_of(measure_anchor(task("encoder"), COLLECTIONS, tmp_path))
    assert (alone.name, beside.name) == ("encoder", ENCODER_BM25)
    assert beside.scores.keys() == alone.scores.keys()
    assert 0.0 <= beside.record["lexical_weight"] <= 1.0


def test_a_useless_score_has_no_weight_beside_the_first_stage(
    with_texts: PreparedData, task: Callable[..., Task], tmp_path: Path
) -> None:
    fused = fuse_with_first_stage(
        lambda queries: np.zeros(queries.candidates.shape), with_texts, "ndcg@10"
    )
    assert fused.fusion_weight == 0.0
    first_stage = measure(task("first_stage"), COLLECTIONS, tmp_path)
    for role, scores in fused.scores(with_texts).items():
        expected = first_stage.scores[COLLECTIONS[role]].per_query["ndcg@10"]
        assert scores.per_query["ndcg@10"] == pytest.approx(expected)
