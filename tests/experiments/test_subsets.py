from __future__ import annotations

import numpy as np
import pytest

from experiments.subsets import reduced
from quantum_rerank.errors import ConfigError
from quantum_rerank.training.trial_data import PreparedData, TrialData


def ids(trial: TrialData, role: str = "train") -> set[tuple[str, str]]:
    query_sets = getattr(trial, role)
    return {(queries.domain, query) for queries in query_sets for query in queries.query_ids}


def test_fewer_queries_are_among_more_queries_of_the_same_seed(prepared: PreparedData) -> None:
    smaller, larger, other = (
        reduced(prepared, n, seed).trial for n, seed in ((4, 1), (9, 1), (4, 2))
    )
    for role in ("train", "validation_in_domain"):
        assert ids(smaller, role) <= ids(larger, role) <= ids(prepared.trial, role)
    assert ids(smaller) != ids(other)
    assert ids(smaller) == ids(reduced(prepared, 4, 1).trial)


def test_domains_keep_their_shares_and_validation_its_proportion(prepared: PreparedData) -> None:
    n_all = len(ids(prepared.trial))
    half = reduced(prepared, n_all // 2, seed=1).trial
    assert len(ids(half)) == n_all // 2
    for ours, whole in zip(half.train, prepared.trial.train, strict=True):
        assert abs(len(ours.query_ids) - len(whole.query_ids) / 2) <= 1
    n_validation = len(ids(prepared.trial, "validation_in_domain"))
    assert abs(len(ids(half, "validation_in_domain")) - n_validation / 2) <= 1


def test_test_queries_and_other_domains_stay_as_they_are(prepared: PreparedData) -> None:
    part = reduced(prepared, 4, seed=1)
    assert part.test is prepared.test
    assert part.unseen_test is prepared.unseen_test
    assert part.trial.validation_out_of_domain is prepared.trial.validation_out_of_domain
    for queries in part.trial.train:
        assert part.splits[queries.domain]["train"] == queries.query_ids
        assert part.splits[queries.domain]["test"] == prepared.splits[queries.domain]["test"]


def test_each_query_keeps_its_vector_candidates_and_judgments(prepared: PreparedData) -> None:
    ours, whole = reduced(prepared, 4, seed=1).trial.train[0], prepared.trial.train[0]
    for row, query in enumerate(ours.query_ids):
        same = whole.query_ids.index(query)
        assert np.array_equal(ours.queries[row], whole.queries[same])
        assert np.array_equal(ours.candidates[row], whole.candidates[same])
        assert np.array_equal(ours.positives[row], whole.positives[same])
        assert ours.qrels[query] == whole.qrels[query]


@pytest.mark.parametrize(
    ("n", "message"), [(10_000, "10,000 training queries were asked for"), (1, "none is of")]
)
def test_too_many_and_too_few_queries_are_refused(
    prepared: PreparedData, n: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        reduced(prepared, n, seed=1)
