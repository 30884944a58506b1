"""Trainings with fewer queries see the same validation queries, and what the key would give."""

from __future__ import annotations

import pytest

from quantum_rerank.config import DataConfig
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation.roles import TRAIN, VALIDATION
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.divisions import other_divisions
from quantum_rerank.training.evaluation_data import load_roles
from quantum_rerank.training.subsets import with_train_queries
from quantum_rerank.training.trial_data import PreparedData
from tests.training.test_divisions import require_same


def cut(config: DataConfig, n_queries: int, **changes: object) -> DataConfig:
    return config.model_copy(update={"train_queries": n_queries, **changes})


def ids(sets: tuple) -> list[tuple[str, ...]]:
    return [queries.query_ids for queries in sets]


def test_a_subset_of_prepared_data_is_what_the_key_prepares(
    data_config: DataConfig, prepared: PreparedData
) -> None:
    source = embedding_source(data_config.encoder)
    config = cut(data_config, 5, train_queries_seed=4)
    run = prepare(config, source)
    subset = with_train_queries(prepared.trial, 5, seed=4)
    for left, right in zip(subset.train, run.trial.train, strict=True):
        require_same(left, right)
    assert ids(subset.validation) == ids(run.trial.validation)
    assert ids(run.test) == ids(prepared.test)
    assert run.n_train == 5
    assert run.fingerprint != prepared.fingerprint


def test_validation_queries_are_cut_as_well_if_asked_for(
    data_config: DataConfig, prepared: PreparedData
) -> None:
    run = prepare(cut(data_config, 5, cut_validation=True), embedding_source(data_config.encoder))
    for whole, fewer in zip(prepared.trial.validation, run.trial.validation, strict=True):
        assert set(fewer.query_ids) < set(whole.query_ids)
    assert ids(run.test) == ids(prepared.test)


def test_other_divisions_have_the_queries_that_are_left(data_config: DataConfig) -> None:
    config = cut(data_config, 5, cut_validation=True)
    source = embedding_source(config.encoder)
    run = prepare(config, source).trial
    first, second = other_divisions(config, source, run, (1, 2))
    for division in (first, second):
        pairs = zip(
            (division.train, run.train),
            (division.validation_in_domain, run.validation_in_domain),
            strict=True,
        )
        (train, was_train), (validation, was_validation) = zip(*pairs, strict=True)
        for sets in zip(train, validation, was_train, was_validation, strict=True):
            new, old = sets[:2], sets[2:]
            assert list(map(len, ids(new))) == list(map(len, ids(old)))
            assert {q for of in ids(new) for q in of} == {q for of in ids(old) for q in of}
    assert ids(first.train) != ids(second.train)


def test_an_evaluation_has_the_queries_that_were_trained_on(data_config: DataConfig) -> None:
    config = cut(data_config, 5, cut_validation=True)
    source = embedding_source(config.encoder)
    run = prepare(config, source)
    roles = load_roles(config, config.seen[:1], source)
    assert ids(roles[TRAIN]) == ids(run.trial.train[:1])
    assert ids(roles[VALIDATION]) == ids(run.trial.validation_in_domain[:1])


def test_more_queries_than_there_are_is_an_error(data_config: DataConfig) -> None:
    with pytest.raises(DataError, match=r"`data.train_queries` is 500"):
        prepare(cut(data_config, 500), embedding_source(data_config.encoder))
