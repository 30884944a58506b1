from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import load_collection
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.query_sets import build_query_set
from quantum_rerank.training.trial_data import PreparedData

CORPUS = {"a": "red oak", "b": "Red red elm leaf", "c": "ash"}
QUERIES = {
    "colour": "a RED thing",
    "both": "red, ash!",
    "twice": "red red ash",
    "unknown": "pigeon",
    "no word": "?!",
}
QRELS = {query: {"a": 1} for query in QUERIES}

Folder = Callable[..., Path]


Ask = Callable[..., tuple[Bm25, QuerySet]]


@pytest.fixture
def ask(beir_folder: Folder) -> Ask:
    """Three documents, all of them candidates of every query."""

    def build(corpus: Mapping[str, str]) -> tuple[Bm25, QuerySet]:
        spec = f"beir:{beir_folder('words', corpus, QUERIES, test=QRELS)}"
        vectors = np.random.default_rng(0).normal(size=(5 + 3, 4)).astype(np.float32)
        collection = load_collection(spec)
        queries = build_query_set(
            collection, vectors[:5], vectors[5:], query_ids=list(QUERIES), n_candidates=3
        )
        return Bm25(DataConfig(seen=(spec,), unseen_validation=(), unseen_test=())), queries

    return build


@pytest.fixture
def asked(ask: Ask) -> tuple[Bm25, QuerySet]:
    """Of documents that can be counted by hand."""
    return ask(CORPUS)


def by_document(bm25: Bm25, queries: QuerySet, query: str) -> Mapping[str, float]:
    row = queries.query_ids.index(query)
    scores = bm25.affinities(queries)[row]
    return {
        queries.document_ids[d]: v for d, v in zip(queries.candidates[row], scores, strict=True)
    }


def of_word(n_documents_with: int, times: int, length: int) -> float:
    """The formula, for 3 documents of 7 words together."""
    idf = math.log(1 + (3 - n_documents_with + 0.5) / (n_documents_with + 0.5))
    return idf * times / (times + 1.2 * (0.25 + 0.75 * length / (7 / 3)))


def test_scores_equal_the_formula_relative_to_the_best_candidate(
    asked: tuple[Bm25, QuerySet],
) -> None:
    in_a, in_b = of_word(2, times=1, length=2), of_word(2, times=2, length=4)
    assert by_document(*asked, "colour") == pytest.approx(
        {"a": in_a / max(in_a, in_b), "b": in_b / max(in_a, in_b), "c": 0.0}, abs=1e-6
    )
    ash = of_word(1, times=1, length=1)
    assert by_document(*asked, "both") == pytest.approx(
        {"a": in_a / ash, "b": in_b / ash, "c": 1.0}, abs=1e-6
    )


def test_a_word_that_occurs_twice_in_the_query_counts_twice(asked: tuple[Bm25, QuerySet]) -> None:
    once, twice = (by_document(*asked, query) for query in ("both", "twice"))
    assert twice["a"] == pytest.approx(2 * once["a"], abs=1e-6)


@pytest.mark.parametrize("query", ["unknown", "no word"])
def test_a_query_without_a_shared_word_scores_all_candidates_alike(
    asked: tuple[Bm25, QuerySet], query: str
) -> None:
    assert set(by_document(*asked, query).values()) == {0.0}


def test_a_corpus_without_words_scores_all_candidates_alike(ask: Ask) -> None:
    bm25, queries = ask(dict.fromkeys(CORPUS, "?!"))
    assert not bm25.affinities(queries).any()


def test_scores_follow_the_order_of_the_candidates(asked: tuple[Bm25, QuerySet]) -> None:
    bm25, queries = asked
    turned = replace(queries, candidates=queries.candidates[:, ::-1])
    np.testing.assert_array_equal(bm25.affinities(turned), bm25.affinities(queries)[:, ::-1])


def test_every_domain_of_a_run_is_scored_by_its_texts(
    data_config: DataConfig, prepared: PreparedData
) -> None:
    bm25 = Bm25(data_config)
    for queries in (*prepared.trial.validation, *prepared.unseen_test):
        scores = bm25.affinities(queries)
        assert scores.shape == queries.candidates.shape
        assert scores.min() >= 0.0
        np.testing.assert_array_equal(scores.max(axis=1), 1.0)
