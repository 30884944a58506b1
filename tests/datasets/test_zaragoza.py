from __future__ import annotations

import sys

import pytest

from quantum_rerank.datasets import load_collection
from quantum_rerank.errors import DataError, MissingPackage


def test_the_error_of_a_missing_package_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingPackage, match="pip install zaragoza-construction-faq"):
        load_collection("zaragoza:all")


class TestInstalled:
    @pytest.fixture(autouse=True)
    def package(self) -> None:
        pytest.importorskip("zaragoza_construction_faq", reason="needs the extra `zaragoza`")

    def test_all_answers_are_loaded_and_repeated_questions_have_two(self) -> None:
        collection = load_collection("zaragoza:all")
        assert len(collection.corpus) == 503
        assert len(collection.queries) == len(set(collection.queries.values())) == 497
        assert sum(len(judged) == 2 for judged in collection.qrels.values()) == 6
        assert sum(len(judged) for judged in collection.qrels.values()) == 503
        assert collection.skipped == {}

    def test_a_question_is_answered_by_the_answer_of_its_line(self) -> None:
        collection = load_collection("zaragoza:bygglov")
        assert collection.queries["bygglov-003"] == "What does a building permit cost?"
        assert collection.qrels["bygglov-003"] == {"bygglov-003": 1}
        assert collection.corpus["bygglov-003"].startswith("The fee is calculated")

    def test_the_corpus_of_several_categories_is_their_answers(self) -> None:
        both = load_collection("zaragoza:bygglov,tillbyggnad")
        parts = [load_collection(f"zaragoza:{name}") for name in ("bygglov", "tillbyggnad")]
        assert both.domain == "zaragoza:bygglov,tillbyggnad"
        assert both.corpus == {**parts[0].corpus, **parts[1].corpus}

    @pytest.mark.parametrize("name", ["castles", "bygglov,", "all,bygglov", "Bygglov"])
    def test_an_unknown_category_is_refused_with_a_list_of_categories(self, name: str) -> None:
        with pytest.raises(
            DataError, match=r"is not a category\. Give `all`, or some of bygglov, "
        ):
            load_collection(f"zaragoza:{name}")
