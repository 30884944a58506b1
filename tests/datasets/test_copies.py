from __future__ import annotations

from collections.abc import Mapping

import pytest

from quantum_rerank.datasets import Collection, checked
from quantum_rerank.datasets.copies import with_copies_judged

CORPUS = {
    "oak": "An oak is a tree.",
    "oak-copy": "an  OAK is a tree.\n",
    "elm": "An elm is a tree.",
    "blank": " ",
    "blank-copy": "",
}
QUERIES = {"q": "oak?", "r": "elm?"}
COUNTED = (
    "copies of a relevant document that were not judged as relevant as it "
    "(`data.judge_copies_alike: true` gives all copies the highest grade)"
)
GIVEN = "copies of a relevant document given its grade"


def collection(q: Mapping[str, int]) -> Collection:
    return checked(Collection("trees", CORPUS, QUERIES, {"q": q, "r": {"elm": 1}}))


def test_an_unjudged_copy_of_a_relevant_document_is_counted() -> None:
    given = collection({"oak": 2})
    counted = with_copies_judged(given, alike=False)
    assert counted.skipped == {**given.skipped, COUNTED: 1}
    assert counted.qrels == given.qrels


@pytest.mark.parametrize(("grade", "is_not_relevant"), [(0, True), (-1, True), (1, False)])
def test_a_copy_with_a_lower_grade_is_counted_and_raised_on_request(
    grade: int, is_not_relevant: bool
) -> None:
    given = collection({"oak": 2, "oak-copy": grade, "elm": 0})
    assert ("oak-copy" in given.not_relevant["q"]) == is_not_relevant
    assert with_copies_judged(given, alike=False).skipped[COUNTED] == 1
    alike = with_copies_judged(given, alike=True)
    assert alike.qrels["q"] == {"oak": 2, "oak-copy": 2}
    assert alike.not_relevant == {"q": ("elm",)}
    assert alike.skipped[GIVEN] == 1


def test_on_request_a_judgment_holds_for_every_copy_of_a_document() -> None:
    given = collection({"elm": 1, "oak": 0})
    alike = with_copies_judged(given, alike=True)
    assert alike.qrels == {"q": {"elm": 1}, "r": {"elm": 1}}
    assert alike.not_relevant == {"q": ("oak", "oak-copy")}
    assert alike.corpus == given.corpus  # rows of vectors follow it
    assert alike.skipped == given.skipped


def test_copies_that_are_judged_alike_are_not_counted() -> None:
    given = collection({"oak": 1, "oak-copy": 1})
    assert with_copies_judged(given, alike=False) == given
    assert with_copies_judged(given, alike=True) == given


def test_documents_without_text_are_not_copies_of_each_other() -> None:
    given = collection({"blank": 1})
    assert with_copies_judged(given, alike=True) == given
