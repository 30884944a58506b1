from __future__ import annotations

import pytest

from quantum_rerank.datasets import load_collection
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.errors import DataError


@pytest.fixture(scope="module")
def chapter() -> Collection:
    return load_collection("icd10:5")


def test_chapter_5_has_its_published_number_of_codes_and_terms(chapter: Collection) -> None:
    assert chapter.domain == "icd10:5"
    assert len(chapter.corpus) == 1112
    assert len(chapter.queries) == 873


def test_a_term_is_answered_by_its_code(chapter: Collection) -> None:
    assert chapter.corpus["F20.0"] == "Paranoid schizophrenia"
    (query,) = (q for q, text in chapter.queries.items() if text == "Paraphrenic schizophrenia")
    assert chapter.qrels[query] == {"F20.0": 1}


def test_no_term_repeats_the_title_that_answers_it(chapter: Collection) -> None:
    same = [
        text
        for query, text in chapter.queries.items()
        if text.lower() in {chapter.corpus[code].lower() for code in chapter.qrels[query]}
    ]
    assert not same


def test_terms_are_unique_queries(chapter: Collection) -> None:
    assert len(set(chapter.queries.values())) == len(chapter.queries)


def test_loading_twice_gives_the_same_ids_in_the_same_order(chapter: Collection) -> None:
    again = load_collection("icd10:5")
    assert list(again.queries.items()) == list(chapter.queries.items())
    assert list(again.corpus) == list(chapter.corpus)


@pytest.mark.parametrize("name", ["0", "23", "five", "05", ""])
def test_a_chapter_that_does_not_exist_is_a_data_error(name: str) -> None:
    with pytest.raises(DataError, match=r"The chapters are 1 to 22|The sources are"):
        load_collection(f"icd10:{name}")


def test_a_source_is_found_by_its_name() -> None:
    assert load_collection("icd10:8").domain == "icd10:8"


@pytest.mark.parametrize("spec", ["icd9:5", "icd10", "icd10:", ":5", "", "5"])
def test_an_unknown_source_is_refused_with_a_list_of_sources(spec: str) -> None:
    with pytest.raises(DataError, match=r"`icd10:\.\.\.`, `beir:\.\.\.`"):
        load_collection(spec)


def test_codes_with_equal_titles_answer_the_same_terms() -> None:
    collection = load_collection("icd10:8")
    twins = 0
    for judged in collection.qrels.values():
        titles = {collection.corpus[code].lower() for code in judged}
        same = {code for code, title in collection.corpus.items() if title.lower() in titles}
        assert set(judged) == same
        twins += len(judged) > len(titles)
    assert twins > 0
