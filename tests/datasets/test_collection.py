from __future__ import annotations

import pytest

from quantum_rerank.datasets.collection import Collection, checked
from quantum_rerank.errors import DataError

CORPUS = {"a": "an oak", "b": "an elm"}
QUERIES = {"q": "oak?", "r": "elm?"}
QRELS = {"q": {"a": 1}, "r": {"b": 2}}


def test_a_sound_collection_passes_unchanged() -> None:
    collection = Collection("trees", CORPUS, QUERIES, QRELS)
    assert checked(collection) == collection


def test_checking_twice_changes_nothing_more() -> None:
    once = checked(Collection("trees", CORPUS, QUERIES, {"q": {"a": 1, "b": 0}, "r": {"b": 0}}))
    assert checked(once) == once


def test_the_given_collection_is_left_alone() -> None:
    qrels = {"q": {"a": 1, "b": 0}, "r": {"b": 0}}
    checked(Collection("trees", CORPUS, QUERIES, qrels))
    assert qrels == {"q": {"a": 1, "b": 0}, "r": {"b": 0}}


def test_an_empty_collection_shows_all_that_is_empty() -> None:
    with pytest.raises(DataError) as caught:
        checked(Collection("trees", {}, {}, {}))
    assert caught.value.problems == (
        "trees: corpus is empty.",
        "trees: queries is empty.",
        "trees: qrels is empty.",
    )


def test_every_kind_of_contradiction_is_shown_at_once() -> None:
    collection = Collection("trees", CORPUS, {"q": " "}, {"q": {"z": 1}, "x": {"a": 1}})
    with pytest.raises(DataError) as caught:
        checked(collection)
    assert len(caught.value.problems) == 3


def test_what_was_skipped_before_stays_on_record() -> None:
    collection = Collection(
        "trees", CORPUS, QUERIES, {"q": {"a": 1}, "r": {"b": 0}}, skipped={"too long": 3}
    )
    assert checked(collection).skipped == {
        "too long": 3,
        "queries without a relevant document left out": 1,
    }
