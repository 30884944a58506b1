from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from numpy.typing import NDArray

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import load_collection
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import score_affinities
from quantum_rerank.training.candidates import with_judged
from quantum_rerank.training.data_description import describe, statistics
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.evaluation_data import load_roles
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.query_sets import build_query_set
from quantum_rerank.training.recall import LOW_RECALL, recall_warnings
from quantum_rerank.training.run_collections import split_collections
from quantum_rerank.training.trial_data import PreparedData

Folder = Callable[..., Path]
Vectors = NDArray[np.float32]

WORDS = ("oak", "elm", "ash", "fir", "yew", "fig", "bay", "box")
ARGUMENTS = {f"{one}-{other}": f"The {one} beats the {other}." for one in WORDS for other in WORDS}
COUNTERS = {
    f"{one}-{other}": {f"{other}-{one}": 1} for one in WORDS for other in WORDS if one != other
}
ASKED = {query: ARGUMENTS[query] for query in COUNTERS}


def embedded(folder: Path, corpus: Mapping[str, str], queries: Mapping[str, str]) -> str:
    """Write vectors for a folder: the words of a text and noise, the same for the same text."""
    rng = np.random.default_rng(0)
    words_of = {text: re.findall(r"\w+", text) for text in (*corpus.values(), *queries.values())}
    words = {word: rng.normal(size=12) for text in words_of for word in words_of[text]}
    vectors = {
        text: sum(words[word] for word in named) + rng.normal(size=12)
        for text, named in words_of.items()
    }
    for name, named in (("corpus", corpus), ("queries", queries)):
        np.save(folder / f"{name}.npy", np.array([vectors[text] for text in named.values()]))
    return f"npy:{folder}"


def config(folder: Path, encoder: str, **changes: Any) -> DataConfig:
    values = {"seen": (f"beir:{folder}",), "unseen_validation": (), "unseen_test": ()}
    return DataConfig(**(values | {"encoder": encoder} | changes))


def beir_ndcg(
    folder: Path, corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Any
) -> dict[str, float]:
    """NDCG@10 of the cosine as BEIR's evaluation computes it, with `ignore_identical_ids`."""
    documents, asked = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for vectors in (np.load(folder / "corpus.npy"), np.load(folder / "queries.npy"))
    )
    scores = zip(queries, (asked @ documents.T).tolist(), strict=True)
    results = {query: dict(zip(corpus, values, strict=True)) for query, values in scores}
    for query, values in results.items():
        values.pop(query, None)
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"})
    return {q: values["ndcg_cut_10"] for q, values in evaluator.evaluate(results).items()}


def cosine_ndcg(data: DataConfig, folder: Path) -> dict[str, float]:
    """The cosine's NDCG@10 on all queries of a folder, by query."""
    elsewhere = data.model_copy(update={"seen": ("icd10:5",)})
    roles = load_roles(elsewhere, [f"beir:{folder}"], embedding_source(data.encoder))
    sets = roles["unseen_test"]
    scores = score_affinities([np.zeros(sets[0].candidates.shape)], 0.0, sets).per_query[NDCG]
    return {name.rpartition("/")[2]: value for name, value in scores.items()}


def quora() -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Questions, of which some are queries: not all of these are documents."""
    corpus = {f"{n}": f"Why does the {w} grow in place {n}?" for n, w in enumerate(WORDS * 6)}
    queries = {query: corpus[query] for query in list(corpus)[:30]}
    absent = {f"{n}": f"Does the {word} grow?" for n, word in enumerate(WORDS, start=100)}
    queries |= absent
    qrels = {
        query: {f"{(place + 8) % 48}": 1, f"{(place + 16) % 48}": 1}
        for place, query in enumerate(queries)
    }
    return corpus, queries, qrels


def with_absent(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Judgments of which one names a second document that is absent, and one no other."""
    first, second, *_ = qrels
    return {**qrels, first: {**qrels[first], "absent": 1}, second: {"absent": 1}}


@pytest.mark.parametrize("candidates", [10, 40])
@pytest.mark.parametrize(
    ("corpus", "queries", "qrels"),
    [
        (ARGUMENTS, ASKED, COUNTERS),
        (ARGUMENTS, ASKED, with_absent(COUNTERS)),
        quora(),
        (*quora()[:2], with_absent(quora()[2])),
    ],
    ids=["arguana", "arguana-absent", "quora", "quora-absent"],
)
def test_the_cosine_scores_like_beir_if_queries_are_documents(
    beir_folder: Folder, corpus: Any, queries: Any, qrels: Any, candidates: int
) -> None:
    folder = beir_folder("trees", corpus, queries, test=qrels)
    data = config(folder, embedded(folder, corpus, queries), candidates=candidates)
    values = cosine_ndcg(data, folder)
    assert values == pytest.approx(beir_ndcg(folder, corpus, queries, qrels), abs=1e-9)
    with_itself = data.model_copy(update={"ignore_identical": "none"})
    lowered = cosine_ndcg(with_itself, folder)
    assert all(lowered[query] <= values[query] for query in values)
    assert fmean(lowered.values()) < fmean(values.values())


def test_a_query_without_present_answers_is_scored_but_not_trained_on(
    beir_folder: Folder,
) -> None:
    corpus, queries, qrels = quora()
    lost = list(queries)[:4]
    qrels |= {query: {"absent": 1} for query in lost}
    folder = beir_folder("questions", corpus, queries, test=qrels)
    encoder = embedded(folder, corpus, queries)
    prepared = loaded(config(folder, encoder, max_unmatched_judgments=0.1))
    for queries_of_role in (*prepared.trial.train, *prepared.trial.validation_in_domain):
        assert not {*queries_of_role.query_ids} & {*lost}
    (test,) = prepared.test
    lost_in_test = {*test.query_ids} & {*lost}
    assert lost_in_test
    assert all(test.qrels[query] == {"absent": 1} for query in lost_in_test)


@pytest.fixture
def questions(beir_folder: Folder) -> tuple[Path, DataConfig]:
    corpus, queries, qrels = quora()
    folder = beir_folder("questions", corpus, queries, test=qrels)
    return folder, config(folder, embedded(folder, corpus, queries), candidates=20)


def loaded(data: DataConfig) -> PreparedData:
    return prepare(data, embedding_source(data.encoder))


def all_sets(prepared: PreparedData) -> tuple[QuerySet, ...]:
    return (*prepared.trial.train, *prepared.trial.validation_in_domain, *prepared.test)


def test_queries_are_not_their_own_candidates_and_all_have_the_same_number(
    questions: tuple[Path, DataConfig],
) -> None:
    prepared = loaded(questions[1])
    n_excluded = 0
    for queries in all_sets(prepared):
        assert queries.candidates.shape[1] == 20
        for query, near, own in zip(
            queries.query_ids, queries.candidates, queries.own_documents, strict=True
        ):
            assert query not in {queries.document_ids[row] for row in near}
            n_excluded += len(own)
    assert n_excluded == 30
    (line,) = (line for line in describe(prepared) if "left out" in line)
    assert line == (
        "beir:questions: 30 documents with the id of a query left out of its candidates"
    )


def test_evaluation_data_and_bm25_have_the_same_candidates_as_training(
    questions: tuple[Path, DataConfig],
) -> None:
    data = questions[1]
    prepared = loaded(data)
    roles = load_roles(data, data.seen, embedding_source(data.encoder))
    for role, here in (("train", prepared.trial.train), ("test", prepared.test)):
        np.testing.assert_array_equal(roles[role][0].candidates, here[0].candidates)
        assert Bm25(data).affinities(here[0]).shape == here[0].candidates.shape
    other = load_roles(
        data.model_copy(update={"seen": ("icd10:5",)}), data.seen, embedding_source(data.encoder)
    )
    assert sum(map(len, other["unseen_test"][0].own_documents)) == 30


def test_the_fingerprint_depends_on_the_excluded_documents(
    questions: tuple[Path, DataConfig],
) -> None:
    data = questions[1]
    rules = ("auto", "id", "text", "none")
    values = {
        r: split_collections(data.model_copy(update={"ignore_identical": r})).fingerprint
        for r in rules
    }
    assert values["auto"] == values["id"] == values["text"]  # here they are the same documents
    assert values["none"] != values["id"]


def test_a_small_corpus_gives_every_query_the_same_number_of_candidates(
    beir_folder: Folder,
) -> None:
    corpus = {"a": "An oak.", "b": "An elm.", "c": "An ash."}
    queries = {"a": "An oak.", "q": "elm?", "r": "ash?"}
    qrels = {"a": {"b": 1}, "q": {"b": 1}, "r": {"c": 1}}
    folder = beir_folder("trees", corpus, queries, test=qrels)
    data = config(folder, embedded(folder, corpus, queries), seen=("icd10:5",))
    sets = load_roles(data, [f"beir:{folder}"], embedding_source(data.encoder))["unseen_test"]
    assert sets[0].candidates.shape == (3, 2)


def test_a_copy_of_the_query_that_is_judged_relevant_is_a_candidate(beir_folder: Folder) -> None:
    corpus = {"a": "An oak.", "a2": "an oak. ", "a3": "AN OAK."}
    queries = {"q": "An oak.", "r": "ash?"}
    folder = beir_folder("trees", corpus, queries, test={"q": {"a": 1}, "r": {"a": 1}})
    data = config(folder, embedded(folder, corpus, queries), seen=("icd10:5",))
    everything = data.model_copy(update={"ignore_identical": "text"})
    sets = load_roles(everything, [f"beir:{folder}"], embedding_source(data.encoder))
    assert sets["unseen_test"][0].candidates.shape == (2, 1)  # the relevant one stays


def test_a_query_that_is_the_same_as_every_document_is_refused(beir_folder: Folder) -> None:
    corpus, queries = {"a": "An oak.", "b": "an oak. "}, {"q": "An oak.", "r": "ash?"}
    folder = beir_folder("trees", corpus, queries, test={"q": {"a": 1}, "r": {"a": 1}})
    collection = load_collection(f"beir:{folder}")
    own = replace(collection, own_documents={"q": ("a", "b")})
    vectors = np.eye(2, 3, dtype=np.float32)
    with pytest.raises(DataError, match="beir:trees: all 2 documents are the query itself"):
        build_query_set(own, vectors, vectors, query_ids=["q", "r"], n_candidates=10)


# Candidates of BM25.


@pytest.fixture
def words(beir_folder: Folder) -> DataConfig:
    """Queries that share a word with two documents each; the embeddings know nothing of it."""
    corpus = {f"d{n}": f"word{n % 10} and document{n}" for n in range(20)}
    queries = {f"q{n}": f"word{n}" for n in range(10)} | {"none": "..."}
    qrels = {f"q{n}": {f"d{n}": 1} for n in range(10)} | {"none": {"d0": 1}}
    folder = beir_folder("words", corpus, queries, test=qrels)
    return config(folder, embedded(folder, corpus, queries), candidates=4, lexical="words")


def of_each(data: DataConfig, source: str) -> dict[str, list[int]]:
    """Return the candidates of every query."""
    prepared = loaded(data.model_copy(update={"candidates_from": source}))
    sets = (*prepared.trial.train, *prepared.trial.validation_in_domain, *prepared.test)
    for queries in sets:
        assert (np.diff(queries.cosine, axis=1) <= 0).all()
        expected = np.take_along_axis(queries.queries @ queries.documents.T, queries.candidates, 1)
        np.testing.assert_allclose(queries.cosine, expected, rtol=1e-5)
    return {
        query: [int(row) for row in rows]
        for queries in sets
        for query, rows in zip(queries.query_ids, queries.candidates, strict=True)
    }


def test_candidates_of_bm25_share_a_term_and_the_cosine_fills_up(words: DataConfig) -> None:
    nearest, found = of_each(words, "cosine"), of_each(words, "bm25")
    for n in range(10):
        assert {n, n + 10} <= set(found[f"q{n}"])
        assert set(nearest[f"q{n}"][:2]) <= set(found[f"q{n}"])
    assert found["none"] == nearest["none"]


def test_the_union_takes_in_turn_from_cosine_and_bm25(words: DataConfig) -> None:
    nearest, both = of_each(words, "cosine"), of_each(words, "union")
    for n in range(10):
        of_query = both[f"q{n}"]
        assert len(set(of_query)) == 4
        assert {nearest[f"q{n}"][0], n, n + 10} <= set(of_query)
    assert both["none"] == nearest["none"]


def test_an_own_document_is_no_candidate_of_bm25(beir_folder: Folder) -> None:
    texts = {f"d{n}": f"word{n} word{n + 1}" for n in range(6)}
    qrels = {f"d{n}": {f"d{(n + 1) % 6}": 1} for n in range(6)}
    folder = beir_folder("own", texts, texts, test=qrels)
    data = config(folder, embedded(folder, texts, texts), candidates=3, lexical="words")
    for query, rows in of_each(data, "bm25").items():
        assert int(query[1:]) not in rows


def test_candidates_of_bm25_need_a_lexical_score() -> None:
    with pytest.raises(ValueError, match="`candidates_from: union` needs BM25: set `lexical`"):
        DataConfig(candidates_from="union")


# Documents that were judged not relevant.


def test_judged_documents_replace_the_farthest_unjudged_candidates() -> None:
    angles = np.linspace(0.0, 1.5, 12)
    documents = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    queries = documents[:1]
    candidates, cosine = np.arange(6)[None, :], (documents[:6] @ queries[0])[None, :]
    is_relevant = np.array([[False, False, False, False, True, False]])
    rows, values = with_judged(
        candidates,
        cosine,
        is_relevant=is_relevant,
        not_relevant=[np.array([1, 11, 8, 9, 10])],
        queries=queries,
        documents=documents,
    )
    # Row 4 is relevant and row 1 was judged: both stay. Half of six may be replaced.
    assert rows.tolist() == [[0, 1, 4, 8, 9, 10]]
    np.testing.assert_allclose(values[0], documents[rows[0]] @ queries[0], rtol=1e-6)
    assert candidates.tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.fixture
def clicks(beir_folder: Folder) -> DataConfig:
    """Every query was shown two documents that it did not want, far from it as from all."""
    corpus = {f"d{n}": f"Document {n}." for n in range(60)}
    queries = {f"q{n}": f"Query {n + 100}?" for n in range(20)}
    qrels = {f"q{n}": {f"d{n}": 1, f"d{n + 20}": 0, f"d{n + 40}": -1} for n in range(20)}
    folder = beir_folder("clicks", corpus, queries, test=qrels)
    return config(folder, embedded(folder, corpus, queries), candidates=10)


def test_documents_judged_not_relevant_are_candidates_in_training_only(
    clicks: DataConfig,
) -> None:
    prepared = loaded(clicks)
    (train,) = prepared.trial.train
    assert train.candidates.shape[1] == 10
    assert (np.diff(train.cosine, axis=1) <= 0).all()
    for near, rejected in zip(train.candidates, train.not_relevant, strict=True):
        assert len(rejected) == 2
        assert np.isin(rejected, near).all()
    for queries in (*prepared.trial.validation_in_domain, *prepared.test):
        scores = queries.queries @ queries.documents.T
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        np.testing.assert_array_equal(queries.candidates, nearest)
    assert any("judged not relevant 2.00" in line for line in describe(prepared))


def test_documents_judged_not_relevant_do_not_change_the_score_of_the_cosine(
    clicks: DataConfig,
) -> None:
    path = Path(clicks.seen[0].removeprefix("beir:")) / "qrels" / "test.tsv"
    first, before = loaded(clicks), cosine_ndcg(clicks, path.parent.parent)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(x for x in lines if x[-2:] not in ("\t0", "-1")), encoding="utf-8")
    second = loaded(clicks)
    assert cosine_ndcg(clicks, path.parent.parent) == before
    assert first.fingerprint != second.fingerprint
    assert second.trial.train[0].not_relevant == ()
    roles = load_roles(clicks, clicks.seen, embedding_source(clicks.encoder))
    np.testing.assert_array_equal(roles["train"][0].candidates, second.trial.train[0].candidates)


def test_evaluation_data_have_the_training_candidates(
    clicks: DataConfig,
) -> None:
    roles = load_roles(clicks, clicks.seen, embedding_source(clicks.encoder))
    np.testing.assert_array_equal(
        roles["train"][0].candidates, loaded(clicks).trial.train[0].candidates
    )


# Candidates that hold hardly anything.


def test_a_low_recall_of_candidates_gives_a_warning(
    clicks: DataConfig,
) -> None:
    prepared = loaded(clicks)
    rows = statistics(prepared)
    assert rows[0]["recall of candidates"] < LOW_RECALL
    warning = describe(prepared)[-1]
    assert warning.startswith("Warning: beir:clicks: on average only ")
    assert "Raise `data.candidates`" in warning


def test_a_warning_mentions_chance_only_if_most_queries_have_no_relevant_candidate(
    clicks: DataConfig,
) -> None:
    (train,) = loaded(clicks).trial.train
    relevant = np.zeros_like(train.grades)
    relevant[: len(relevant) // 2 + 1, 0] = 1
    qrels = {query: {"a": 1, "b": 1, "c": 1} for query in train.query_ids}
    half = replace(train, grades=relevant, qrels=qrels)
    assert "chance" not in recall_warnings([half])[0]
    none = replace(half, grades=np.zeros_like(relevant))
    assert "100% of the queries have none there" in recall_warnings([none])[0]
    assert "largely chance" in recall_warnings([none])[0]


def test_a_high_recall_of_candidates_gives_no_warning(clicks: DataConfig) -> None:
    prepared = loaded(clicks.model_copy(update={"candidates": 60}))
    assert recall_warnings(all_sets(prepared)) == []
