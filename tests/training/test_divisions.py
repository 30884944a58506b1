"""Other divisions are those of `data.validation_seed`, on the documents of the run."""

from __future__ import annotations

import numpy as np
import pytest

from quantum_rerank.config import DataConfig
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.divisions import other_divisions
from quantum_rerank.training.trial_data import PreparedData

SEEDS = (1, 2, 3)


def require_same(left: QuerySet, right: QuerySet) -> None:
    assert left.domain == right.domain
    assert left.query_ids == right.query_ids
    assert left.document_ids == right.document_ids
    for name in ("queries", "documents", "candidates", "cosine", "grades", "lexical"):
        assert np.array_equal(getattr(left, name), getattr(right, name)), name
    assert left.qrels == right.qrels
    for name in ("positives", "own_documents", "not_relevant"):
        pairs = zip(getattr(left, name), getattr(right, name), strict=True)
        assert all(np.array_equal(ours, theirs) for ours, theirs in pairs), name


@pytest.mark.parametrize(("ignored", "lexical"), [("none", "none"), ("auto", "stems")])
def test_a_division_is_what_its_seed_prepares(
    data_config: DataConfig, ignored: str, lexical: str
) -> None:
    config = data_config.model_copy(update={"ignore_identical": ignored, "lexical": lexical})
    source = embedding_source(config.encoder)
    run = prepare(config, source)
    divisions = other_divisions(config, source, run.trial, SEEDS)
    for seed, division in zip(SEEDS, divisions, strict=True):
        expected = prepare(config.model_copy(update={"validation_seed": seed}), source)
        sets = [(division.train, expected.trial.train)]
        sets.append((division.validation_in_domain, expected.trial.validation_in_domain))
        for ours, theirs in sets:
            for left, right in zip(ours, theirs, strict=True):
                require_same(left, right)
        assert division.validation_out_of_domain == run.trial.validation_out_of_domain


def test_divisions_differ_and_hold_no_test_query(
    data_config: DataConfig, prepared: PreparedData
) -> None:
    source = embedding_source(data_config.encoder)
    divisions = other_divisions(data_config, source, prepared.trial, SEEDS)
    current = [queries.query_ids for queries in prepared.trial.validation_in_domain]
    drawn = [[q.query_ids for q in division.validation_in_domain] for division in divisions]
    assert len({str(ids) for ids in [current, *drawn]}) == 1 + len(SEEDS)
    tested = {(q.domain, query) for q in prepared.test for query in q.query_ids}
    for division in divisions:
        sets = (*division.train, *division.validation_in_domain)
        assert not tested & {(q.domain, query) for q in sets for query in q.query_ids}


def test_all_divisions_share_the_documents(data_config: DataConfig, prepared: PreparedData) -> None:
    source = embedding_source(data_config.encoder)
    for division in other_divisions(data_config, source, prepared.trial, SEEDS):
        for ours, current in zip(division.train, prepared.trial.train, strict=True):
            assert ours.documents is current.documents
        for ours, current in zip(division.validation_in_domain, prepared.trial.train, strict=True):
            assert ours.documents is current.documents
