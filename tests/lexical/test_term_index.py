from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantum_rerank.lexical import TermExtractor, TermIndex, build_index, term_index
from quantum_rerank.lexical.statistics import TermStatistics, merged

WORDS = TermExtractor("words", "english")
CORPUS = ["red oak", "Red red elm leaf", "", "ash", "the the the"]
QUERIES = ["red", "a RED ash", "red red ash", "pigeon", "?!", "red pigeon", ""]


@pytest.fixture
def index() -> TermIndex:
    return build_index(CORPUS, WORDS)


def random_texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(60)]
    return [" ".join(rng.choice(words, rng.integers(0, 30))) for _ in range(n)]


@pytest.mark.parametrize("query", QUERIES)
def test_rows_score_as_in_the_whole_corpus(index: TermIndex, query: str) -> None:
    terms = index.statistics.weighted(query, WORDS)
    scores = index.scores(terms)
    rows = np.array([4, 0, 0, 2, 1])
    np.testing.assert_array_equal(index.scores(terms, rows), scores[rows])
    assert (scores >= 0.0).all() and (scores <= 1.0).all()


@pytest.mark.parametrize("query", QUERIES)
def test_an_indexed_document_scores_as_its_text(index: TermIndex, query: str) -> None:
    texts = index.statistics.scores(query, CORPUS, WORDS)
    indexed = index.scores(index.statistics.weighted(query, WORDS))
    np.testing.assert_allclose(indexed, texts, atol=1e-7)


def test_scores_are_those_of_bm25s() -> None:
    import bm25s

    texts, queries = random_texts(200), random_texts(20, seed=1)
    index = build_index(texts, WORDS)
    reference = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    reference.index([WORDS.terms(text) for text in texts], show_progress=False)
    for query in filter(None, queries):
        terms = index.statistics.weighted(query, WORDS)
        ours, theirs = index.scores(terms), reference.get_scores(WORDS.terms(query))
        # They are divided by the sum of the query's idf.
        np.testing.assert_allclose(ours / ours.max(), theirs / theirs.max(), atol=1e-5)


def test_a_document_scores_the_share_of_the_querys_idf_that_it_covers(index: TermIndex) -> None:
    (oak, *_) = index.scores(index.statistics.weighted("oak", WORDS))
    length, mean = 2, 10 / 5
    assert oak == pytest.approx(1 / (1 + 1.2 * (1 - 0.75 + 0.75 * length / mean)))


def test_a_word_of_no_document_lowers_the_scores(index: TermIndex) -> None:
    known = index.scores(index.statistics.weighted("oak", WORDS))[0]
    mixed = index.scores(index.statistics.weighted("oak pigeon", WORDS))[0]
    assert 0.0 < mixed < known


@pytest.mark.parametrize("texts", [[], [""], ["?!", ""]])
def test_a_corpus_without_words_scores_nothing(texts: list[str]) -> None:
    index = build_index(texts, WORDS)
    terms = index.statistics.weighted("red", WORDS)
    np.testing.assert_array_equal(index.scores(terms), np.zeros(len(texts)))
    assert index.statistics.scores("red", ["red"], WORDS)[0] > 0.0


@pytest.mark.parametrize("n_postings", [1, 40, 2**20])
def test_blocks_and_a_file_on_disk_change_nothing(
    n_postings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["", *random_texts(100), "?!", ""]
    expected = build_index(texts, WORDS)
    monkeypatch.setattr(term_index, "_DOCUMENTS", 7)
    monkeypatch.setattr(term_index, "_IN_MEMORY", 1)
    monkeypatch.setattr(term_index, "_POSTINGS", n_postings)

    def reserve(name: str, dtype: Any, length: int) -> Any:
        return np.lib.format.open_memmap(tmp_path / name, "w+", dtype, (length,))

    index = build_index(iter(texts), WORDS, reserve, tmp_path)
    for array, other in zip(arrays(index), arrays(expected), strict=True):
        np.testing.assert_array_equal(array, other)
        assert array.dtype == other.dtype
    assert (index.n_documents, index.mean_length) == (len(texts), expected.mean_length)


def arrays(index: TermIndex) -> list[Any]:
    return [index.terms, *index.by_term, *index.by_document]


def test_both_groupings_have_the_same_postings(index: TermIndex) -> None:
    by_term, by_document = index.by_term, index.by_document
    terms = np.repeat(np.arange(len(index.terms)), np.diff(by_term.starts))
    documents = np.repeat(np.arange(len(CORPUS)), np.diff(by_document.starts))
    of_terms = sorted(zip(by_term.members, terms, by_term.shares, strict=True))
    of_documents = zip(documents, by_document.members, by_document.shares, strict=True)
    assert of_terms == list(of_documents)


@pytest.mark.parametrize("rows", [[5], [0, -1]])
def test_rows_outside_of_the_index_are_refused(index: TermIndex, rows: list[int]) -> None:
    terms = index.statistics.weighted("red", WORDS)
    with pytest.raises(IndexError, match="not in the index"):
        index.scores(terms, np.array(rows))


@pytest.mark.parametrize("member", [5, -1, 2**31 - 1])
def test_altered_numbers_are_never_used_as_positions(index: TermIndex, member: int) -> None:
    index.by_term.members[:] = member
    index.by_document.members[:] = member
    terms = index.statistics.weighted("red", WORDS)
    with pytest.raises(IndexError, match="not in the index"):
        index.scores(terms)
    assert np.isfinite(index.scores(terms, np.arange(5))).all()


def test_the_arrays_are_those_that_were_reserved() -> None:
    reserved: dict[str, Any] = {}

    def reserve(name: str, dtype: Any, length: int) -> Any:
        return reserved.setdefault(name, np.zeros(length, dtype))

    index = build_index(CORPUS, WORDS, reserve)
    assert all(
        array is there for array, there in zip(arrays(index), reserved.values(), strict=True)
    )
    assert list(reserved) == [
        "terms",
        *("by_term.starts", "by_term.members", "by_term.shares"),
        *("by_document.starts", "by_document.members", "by_document.shares"),
    ]


def test_merged_statistics_are_those_of_one_corpus() -> None:
    left, right = random_texts(30, seed=2), random_texts(20, seed=3)
    parts = [build_index(texts, WORDS).statistics for texts in (left, right, [])]
    together, expected = merged(parts), build_index(left + right, WORDS).statistics
    assert_equal(together, expected)


def assert_equal(left: TermStatistics, right: TermStatistics) -> None:
    np.testing.assert_array_equal(left.terms, right.terms)
    np.testing.assert_array_equal(left.frequencies, right.frequencies)
    assert (left.n_documents, left.mean_length) == (
        right.n_documents,
        pytest.approx(right.mean_length),
    )
