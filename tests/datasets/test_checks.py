from __future__ import annotations

import pytest

from quantum_rerank.datasets.checks import checked
from quantum_rerank.datasets.collection import MAX_CHARACTERS, Collection
from quantum_rerank.errors import DataError

CORPUS = {"a": "an oak", "b": "an elm"}
QUERIES = {"q": "oak?", "r": "elm?"}
QRELS = {"q": {"a": 1}, "r": {"b": 2}}


def test_a_valid_collection_passes_unchanged() -> None:
    collection = Collection("trees", CORPUS, QUERIES, QRELS)
    assert checked(collection) == collection


def test_checking_twice_changes_nothing_more() -> None:
    once = checked(Collection("trees", CORPUS, QUERIES, {"q": {"a": 1, "b": 0}, "r": {"b": 0}}))
    assert checked(once) == once


def test_documents_judged_not_relevant_are_recorded_separately() -> None:
    qrels = {"q": {"a": 1, "b": -1}, "r": {"a": 0}}
    found = checked(Collection("trees", CORPUS, QUERIES, qrels))
    assert found.qrels == {"q": {"a": 1}}
    assert found.not_relevant == {"q": ("b",)}  # `r` is left out


def test_the_argument_is_not_changed() -> None:
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


def test_all_kinds_of_problems_are_shown_at_once() -> None:
    collection = Collection("trees", CORPUS, {"q": " "}, {"q": {"z": 1}, "x": {"a": 1}})
    with pytest.raises(DataError) as caught:
        checked(collection)
    assert len(caught.value.problems) == 3


def test_earlier_counts_are_preserved() -> None:
    collection = Collection(
        "trees", CORPUS, QUERIES, {"q": {"a": 1}, "r": {"b": 0}}, skipped={"too long": 3}
    )
    assert checked(collection).skipped == {
        "too long": 3,
        "queries without a relevant document left out": 1,
    }


def test_repeated_checks_count_changes_once() -> None:
    long = "oak " * MAX_CHARACTERS
    given = Collection(
        "trees",
        {"a": long, "b": " ", "c": "an elm"},
        {"q": long, "r": "elm?"},
        {"q": {"a": 1, "b": -1}, "r": {"c": -2, "b": 0}},
    )
    once = checked(given)
    assert once.skipped == {
        "queries without a relevant document left out": 1,
        "judgments below 0 taken as not relevant": 2,
        "documents without text kept": 1,
        "texts cut after 100,000 characters": 2,
    }
    assert once.corpus == {"a": long[:MAX_CHARACTERS], "b": " ", "c": "an elm"}
    assert once.queries == {"q": long[:MAX_CHARACTERS]}
    assert checked(once) == once


@pytest.mark.parametrize("where", ["corpus", "queries"])
@pytest.mark.parametrize(("key", "text"), [("z", "oak \ud83c"), ("\ud83c", "oak")])
def test_half_a_surrogate_pair_is_refused_in_any_id_or_text(
    where: str, key: str, text: str
) -> None:
    corpus, queries = dict(CORPUS), dict(QUERIES)
    (corpus if where == "corpus" else queries)[key] = text
    with pytest.raises(DataError, match="trees: 1 text with half a surrogate pair"):
        checked(Collection("trees", corpus, queries, QRELS))


def test_a_very_long_id_is_shortened() -> None:
    with pytest.raises(DataError) as caught:
        checked(Collection("trees", CORPUS, QUERIES, {"q": {"9" * 100_000: 1}}))
    assert len(str(caught.value)) < 250
