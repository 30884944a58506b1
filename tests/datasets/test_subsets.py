"""Subsets are nested by seed, in proportion to the collections, and never empty."""

from __future__ import annotations

import pytest

from quantum_rerank.datasets import Split, nested_subset, with_fewer_queries
from quantum_rerank.errors import DataError

IDS = {
    "large": [f"l{number}" for number in range(60)],
    "small": [f"s{number}" for number in range(20)],
}
SPLITS = {
    "large": Split(tuple(IDS["large"]), ("v1", "v2", "v3", "v4"), ("t1",)),
    "small": Split(tuple(IDS["small"]), ("w1", "w2", "w3", "w4"), ("u1",)),
    "unseen": Split(validation=("x1", "x2", "x3", "x4")),
    "held out": Split(test=("y1",)),
}


@pytest.mark.parametrize("seed", range(3))
def test_a_subset_has_the_queries_of_the_smaller_subsets_of_its_seed(seed: int) -> None:
    smaller: dict[str, set[str]] = {name: set() for name in IDS}
    for n_queries in range(2, 81):
        subset = {name: set(ids) for name, ids in nested_subset(IDS, n_queries, seed).items()}
        assert sum(map(len, subset.values())) == n_queries
        assert all(smaller[name] <= subset[name] for name in IDS)
        smaller = subset


def test_a_subset_is_in_proportion_and_in_order() -> None:
    subset = nested_subset(IDS, 40, seed=0)
    assert {name: len(ids) for name, ids in subset.items()} == {"large": 30, "small": 10}
    for name, ids in subset.items():
        assert sorted(ids, key=IDS[name].index) == list(ids)


def test_another_seed_draws_other_queries() -> None:
    assert nested_subset(IDS, 20, seed=0) != nested_subset(IDS, 20, seed=1)


def test_validation_and_test_queries_stay_as_they_are() -> None:
    cut = with_fewer_queries(SPLITS, 20, seed=0, cut_validation=False)
    assert sum(len(split.train) for split in cut.values()) == 20
    for name, split in SPLITS.items():
        assert (cut[name].validation, cut[name].test) == (split.validation, split.test)


def test_validation_queries_are_cut_in_proportion_and_none_is_empty() -> None:
    half = with_fewer_queries(SPLITS, 40, seed=0, cut_validation=True)
    assert sum(len(half[name].validation) for name in ("large", "small")) == 4
    assert len(half["unseen"].validation) == 2
    few = with_fewer_queries(SPLITS, 2, seed=0, cut_validation=True)
    assert [len(few[name].validation) for name in SPLITS] == [1, 1, 1, 0]
    assert all(few[name].test == SPLITS[name].test for name in SPLITS)


@pytest.mark.parametrize("n_queries", [1, 81])
def test_an_impossible_number_is_named_with_its_limits(n_queries: int) -> None:
    with pytest.raises(DataError, match=rf"`data.train_queries` is {n_queries}.*from 2 to 80"):
        with_fewer_queries(SPLITS, n_queries, seed=0, cut_validation=True)
