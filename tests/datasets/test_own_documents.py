from __future__ import annotations

import pytest

from quantum_rerank.datasets import Collection, checked
from quantum_rerank.datasets.own_documents import (
    IdenticalRule,
    ids_are_shared,
    own_documents,
    without_own_documents,
)

QUESTIONS = {"a": "What is an oak?", "b": "What is an elm?", "c": "Is an oak a tree?"}
CORPUS = {**QUESTIONS, "a2": "what is an  Oak? ", "d": "Are oaks trees?"}
QRELS = {"a": {"d": 1}, "b": {"a": 1}}


def collection(**judged: dict[str, int]) -> Collection:
    return checked(Collection("beir:questions", CORPUS, QUESTIONS, QRELS | judged))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("auto", {"a": ("a",), "b": ("b",)}),
        ("id", {"a": ("a",), "b": ("b",)}),
        ("text", {"a": ("a", "a2"), "b": ("b",)}),
        ("none", {}),
    ],
)
def test_identical_documents_have_the_querys_id_or_text(
    rule: IdenticalRule, expected: dict[str, tuple[str, ...]]
) -> None:
    given = collection()
    found = without_own_documents(given, rule)
    assert found.own_documents == expected
    what = "text" if rule == "text" else "id"
    counted = f"documents with the {what} of a query left out of its candidates"
    n_left_out = sum(map(len, expected.values()))
    assert found.skipped == given.skipped | ({counted: n_left_out} if n_left_out else {})


def test_an_identical_document_judged_relevant_stays_and_is_counted() -> None:
    found = without_own_documents(collection(c={"c": 1, "d": 1}), "auto")
    assert "c" not in found.own_documents
    kept = "documents with the id of a query kept, as they are judged relevant to it"
    assert found.skipped[kept] == 1


def test_an_identical_document_judged_not_relevant_is_not_a_negative() -> None:
    given = collection(a={"a": 0, "b": 0, "d": 1})
    assert given.not_relevant == {"a": ("a", "b")}
    assert without_own_documents(given, "auto").not_relevant == {"a": ("b",)}
    assert without_own_documents(given, "none").not_relevant == {"a": ("a", "b")}


def test_the_text_of_a_query_below_a_title_shows_that_ids_are_shared() -> None:
    assert ids_are_shared({"a": "Oaks are  trees."}, {"a": "On trees. oaks are trees.", "b": "x"})
    assert not ids_are_shared({"a": " "}, {"a": "An oak."})
    assert not ids_are_shared({"a": "Oaks are trees."}, {"b": "Oaks are trees."})


def test_a_document_that_differs_from_its_query_is_left_out_if_ids_are_shared() -> None:
    corpus = {"a": "What is an oak?", "b": "An elm: what is it?"}
    found = own_documents({"a": "what is an oak?", "b": "What is an elm?"}, corpus, "auto")
    assert found == {"a": ("a",), "b": ("b",)}


@pytest.mark.parametrize(("rule", "n_left_out"), [("auto", 0), ("id", 2)])
def test_independent_numberings_of_queries_and_documents_are_not_shared_ids(
    rule: IdenticalRule, n_left_out: int
) -> None:
    corpus = {"1": "Oaks grow slowly.", "2": "Elms grow fast.", "3": "An ash is a tree."}
    queries = {"1": "elm growth", "2": "what is an ash", "3": "ash trees"}
    qrels = {"1": {"2": 1}, "2": {"3": 1}, "3": {"3": 1}}
    found = without_own_documents(checked(Collection("beir:n", corpus, queries, qrels)), rule)
    assert len(found.own_documents) == n_left_out
    if rule == "auto":
        counted = (
            "documents with the id of a query but another text kept (`data.ignore_identical: id` "
            "leaves them out, as BEIR's evaluation does)"
        )
        assert found.skipped == {counted: 2}
