from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import load_collection
from quantum_rerank.embeddings import embedding_source, source_of
from quantum_rerank.errors import DataError, EmbeddingError
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.candidates import nearest_documents
from quantum_rerank.training.data_description import describe, judgment_statistics, statistics
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.query_sets import build_query_set
from quantum_rerank.training.run_collections import split_collections
from quantum_rerank.training.trial_data import PreparedData, TrialData

Folder = Callable[..., Path]


# What is loaded.


def test_no_query_has_two_roles(prepared: PreparedData) -> None:
    for roles in prepared.splits.values():
        for one, other in combinations(roles.values(), 2):
            assert not set(one) & set(other)


def test_a_trial_never_sees_a_test_query(prepared: PreparedData) -> None:
    trial = prepared.trial
    visible = {
        (queries.domain, query)
        for queries in (*trial.train, *trial.validation)
        for query in queries.query_ids
    }
    tested = {
        (queries.domain, query)
        for queries in (*prepared.test, *prepared.unseen_test)
        for query in queries.query_ids
    }
    assert tested
    assert not visible & tested


def test_unseen_domains_are_never_trained_on(prepared: PreparedData) -> None:
    trained = {queries.domain for queries in prepared.trial.train}
    assert trained == {"beir:park", "beir:forest"}
    assert [queries.domain for queries in prepared.trial.validation_out_of_domain] == [
        "beir:garden"
    ]
    assert [queries.domain for queries in prepared.unseen_test] == ["beir:orchard"]
    assert len(prepared.trial.validation_out_of_domain[0].query_ids) == 16


def test_corpora_of_the_warm_up_do_not_include_the_test_domain(prepared: PreparedData) -> None:
    trial = prepared.trial
    corpora = [queries.documents for queries in (*trial.train, *trial.validation_out_of_domain)]
    assert all(any(c is own for own in corpora) for c in trial.corpora)
    tested = prepared.unseen_test[0].documents
    assert not any(np.array_equal(corpus, tested) for corpus in trial.corpora)


def test_the_statistics_count_what_was_loaded(prepared: PreparedData) -> None:
    rows = {row["domain"]: row for row in statistics(prepared)}
    park = rows["beir:park"]
    counts = {"domain": "beir:park", "documents": 24, "train": 10, "validation": 3, "test": 3}
    assert {key: park[key] for key in counts} == counts
    assert rows["beir:garden"]["validation"] == rows["beir:orchard"]["test"] == 16


def test_queries_with_a_text_of_another_role_are_counted_and_used(
    beir_folder: Folder, tmp_path: Path
) -> None:
    corpus = {"d1": "An oak.", "d2": "An elm."}
    queries = {"a": "oak leaf", "b": "elm bark", "c": "elm leaf", "d": " Oak leaf"}
    judged = {"train": "ab", "dev": "c", "test": "d"}
    qrels = {split: {query: {"d1": 1} for query in names} for split, names in judged.items()}
    folder = beir_folder("trees", corpus, queries, **qrels)
    np.save(tmp_path / "corpus.npy", np.eye(2, 3))
    np.save(tmp_path / "queries.npy", np.ones((4, 3)))
    config = DataConfig(seen=(f"beir:{folder}",), unseen_validation=(), unseen_test=())
    prepared = prepare(config, embedding_source(f"npy:{tmp_path}"))
    lines = {"test queries with a text that is trained or chosen on too": 1}
    assert prepared.skipped == {"beir:trees": lines}
    assert describe(prepared)[-1].startswith("beir:trees: 1 test queries with a text that")
    assert prepared.test[0].query_ids == ("d",)


def test_the_statistics_describe_judgments_and_the_recall_of_candidates(
    prepared: PreparedData,
) -> None:
    rows = {row["domain"]: row for row in statistics(prepared)}
    assert rows["beir:park"]["relevant per query"] == 2.0
    assert rows["beir:park"]["graded"] == 1.0
    (garden,) = prepared.trial.validation_out_of_domain
    held = [
        np.isin(relevant, near).mean()
        for relevant, near in zip(garden.positives, garden.candidates, strict=True)
    ]
    assert 0.0 < rows["beir:garden"]["recall of candidates"] < 1.0
    assert rows["beir:garden"]["recall of candidates"] == pytest.approx(np.mean(held))
    assert any("recall of candidates 0." in line for line in describe(prepared))


def test_judgments_of_test_queries_are_not_described(prepared: PreparedData) -> None:
    rows = {row["domain"]: row for row in statistics(prepared)}
    assert rows["beir:orchard"].keys() == {"domain", "documents", "train", "validation", "test"}


def test_queries_are_graded_if_the_grades_of_their_relevant_documents_differ(
    query_set: QuerySet,
) -> None:
    first = query_set.query_ids[0]
    level = {
        query: dict.fromkeys(judged, 3 if query == first else 1)
        for query, judged in query_set.qrels.items()
    }
    assert judgment_statistics([replace(query_set, qrels=level)])["graded"] == 0.0
    mixed = {**level, first: query_set.qrels[first]}
    assert judgment_statistics([replace(query_set, qrels=mixed)])["graded"] == pytest.approx(0.1)


def test_candidates_are_sorted_by_falling_cosine(query_set: QuerySet) -> None:
    assert query_set.candidates.shape == query_set.cosine.shape == (10, 12)
    assert (np.diff(query_set.cosine, axis=1) <= 0).all()
    expected = np.take_along_axis(
        query_set.queries @ query_set.documents.T, query_set.candidates, axis=1
    )
    np.testing.assert_allclose(query_set.cosine, expected, atol=1e-6)


def test_positives_are_the_judged_documents(query_set: QuerySet) -> None:
    for query, rows in zip(query_set.query_ids, query_set.positives, strict=True):
        result = {query_set.document_ids[row] for row in rows}
        assert result == set(query_set.qrels[query])


def test_a_collection_named_twice_is_refused() -> None:
    config = DataConfig(seen=("icd10:5",), unseen_validation=("icd10:5",), unseen_test=())
    with pytest.raises(DataError, match="icd10:5: named twice"):
        prepare(config, embedding_source("npy:nowhere"))


@pytest.mark.parametrize("role", ["seen", "unseen_validation", "unseen_test"])
def test_a_collection_of_one_document_is_refused_before_it_is_embedded(
    beir_folder: Folder, role: str
) -> None:
    trees = f"beir:{beir_folder()}"
    lone = beir_folder("lone", {"d": "An oak."}, {"q": "oak?"}, test={"q": {"d": 1}})
    roles = {"seen": (trees,), "unseen_validation": (), "unseen_test": (), role: (f"beir:{lone}",)}
    with pytest.raises(DataError, match="beir:lone: the collection has one document"):
        prepare(DataConfig(**roles), embedding_source("npy:nowhere"))


def test_domains_of_different_width_are_refused(beir_folder: Folder, tmp_path: Path) -> None:
    specs = []
    for name, width in (("one", 4), ("two", 5)):
        specs.append(f"beir:{beir_folder(name)}")
        folder = tmp_path / "vectors" / f"beir-{name}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        np.save(folder / "corpus.npy", rng.normal(size=(24, width)))
        np.save(folder / "queries.npy", rng.normal(size=(16, width)))
    config = DataConfig(seen=tuple(specs), unseen_validation=(), unseen_test=())
    with pytest.raises(EmbeddingError):
        prepare(config, embedding_source(f"npy:{tmp_path / 'vectors'}"))


def fingerprint(tmp_path: Path, folder: Path, split_seed: int = 13) -> str:
    vectors = tmp_path / "same"
    vectors.mkdir(exist_ok=True)
    np.save(vectors / "corpus.npy", np.random.default_rng(0).normal(size=(24, 4)))
    np.save(vectors / "queries.npy", np.random.default_rng(1).normal(size=(16, 4)))
    config = DataConfig(
        seen=(f"beir:{folder}",), unseen_validation=(), unseen_test=(), split_seed=split_seed
    )
    return prepare(config, embedding_source(f"npy:{vectors}")).fingerprint


def test_the_fingerprint_depends_on_texts_judgments_and_splits(
    beir_folder: Folder, tmp_path: Path
) -> None:
    folder = beir_folder()
    first = fingerprint(tmp_path, folder)
    assert fingerprint(tmp_path, folder) == first
    assert fingerprint(tmp_path, folder, split_seed=14) != first
    for file, old, new in (
        ("corpus.jsonl", "The bark", "A bark"),
        ("queries.jsonl", "look like", "smell of"),
        ("qrels/test.tsv", "\t2\n", "\t3\n"),
    ):
        path = folder / file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        assert fingerprint(tmp_path, folder) != first, file
        path.write_text(text, encoding="utf-8")


def encoded_by(encoder: str, folder: Path) -> DataConfig:
    return DataConfig(
        seen=(f"beir:{folder}",), unseen_validation=(), unseen_test=(), encoder=encoder
    )


def with_lines_reversed(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(reversed(lines)), encoding="utf-8")


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl"])
def test_the_fingerprint_depends_on_the_order_of_texts_with_vectors_from_a_file(
    beir_folder: Folder, file: str
) -> None:
    folder = beir_folder()
    config = encoded_by("npy:vectors", folder)
    first = split_collections(config).fingerprint
    with_lines_reversed(folder / file)
    assert split_collections(config).fingerprint != first


def test_the_fingerprint_with_a_text_encoder_does_not_depend_on_the_order(
    beir_folder: Folder,
) -> None:
    folder = beir_folder()
    for file in ("corpus.jsonl", "queries.jsonl"):
        assert (
            split_collections(encoded_by("minilm", folder)).fingerprint
            == "4ac0ac5e10760b24c56c0339b47c51330a57547a89748024f30ff709e07fbe13"
        )
        with_lines_reversed(folder / file)


# The nearest documents.


def test_the_nearest_documents_equal_a_full_sort_with_any_block_size() -> None:
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(7, 5)).astype(np.float32)
    documents = rng.normal(size=(30, 5)).astype(np.float32)
    expected = [
        sorted(range(30), key=lambda d, q=q: -(queries[q] @ documents[d]))[:6] for q in range(7)
    ]
    for block in (1, 3, 256):
        for documents_block in (1, 4, 13, 30, 100):
            rows, cosine = nearest_documents(
                queries, documents, 6, block=block, documents_block=documents_block
            )
            assert rows.tolist() == expected
            scores = np.take_along_axis(queries @ documents.T, rows, axis=1)
            np.testing.assert_allclose(cosine, scores, rtol=1e-5)


def test_ties_are_broken_by_row_and_a_small_corpus_gives_all_documents() -> None:
    documents = np.ones((3, 2), dtype=np.float32)
    for documents_block in (1, 2, 3):
        rows, cosine = nearest_documents(
            documents[:1], documents, 100, documents_block=documents_block
        )
        assert rows.tolist() == [[0, 1, 2]]
        assert cosine.tolist() == [[2.0, 2.0, 2.0]]
        rows, _ = nearest_documents(documents[:1], documents, 2, documents_block=documents_block)
        assert rows.tolist() == [[0, 1]]


def test_a_query_set_has_the_requested_order(beir_folder: Folder) -> None:
    collection = load_collection(f"beir:{beir_folder()}")
    rng = np.random.default_rng(0)
    queries, documents = (rng.normal(size=(n, 4)).astype(np.float32) for n in (16, 24))
    ids = list(collection.queries)[::-3]
    result = build_query_set(collection, queries, documents, query_ids=ids, n_candidates=5)
    assert list(result.query_ids) == ids
    np.testing.assert_array_equal(result.queries, queries[::-3])


def test_grades_are_the_judgments_of_the_candidates(trial_data: TrialData) -> None:
    for queries in (*trial_data.train, *trial_data.validation):
        assert queries.grades.any()
        for query, rows, grades in zip(
            queries.query_ids, queries.candidates, queries.grades, strict=True
        ):
            names = [queries.document_ids[row] for row in rows]
            expected = [queries.qrels[query].get(name, 0) for name in names]
            assert grades.tolist() == expected


def test_one_collection_under_two_names_is_refused(beir_folder: Folder, tmp_path: Path) -> None:
    folder = beir_folder("trees")
    spelt = f"{folder.parent}/./{folder.name}"
    config = DataConfig(
        seen=(f"beir:{folder}",), unseen_validation=(), unseen_test=(f"beir:{spelt}",)
    )
    with pytest.raises(DataError, match="beir:trees: two collections of this name"):
        prepare(config, embedding_source(f"npy:{tmp_path}"))


# What its encoder does not read.


def test_texts_that_are_not_read_in_full_are_counted_with_the_data(
    words_encoder: str, beir_folder: Folder
) -> None:
    trees = load_collection(f"beir:{beir_folder('few')}")
    corpus = {**trees.corpus, "strange": "\u0e15\u0e49\u0e19\u0e44\u0e21\u0e49"}
    corpus |= {f"long {row}": "The leaf of the oak and that of the elm." for row in range(10)}
    folder = beir_folder("trees", corpus=corpus)
    config = DataConfig(
        seen=(f"beir:{folder}",), unseen_validation=(), unseen_test=(), encoder=words_encoder
    )
    prepared = prepare(config, source_of(config))
    lines = describe(prepared)
    for sentence, count in (
        ("of 35 documents are longer than the 8 tokens", 10),
        ("document is written mostly in characters", 1),
        ("of 16 queries are longer than the 8 tokens", 16),
    ):
        (line,) = [line for line in lines if sentence in line]
        assert line.startswith(f"beir:trees: {count} ")
        assert ("Warning: " in line) == (count > 1)
    fingerprint = split_collections(config).fingerprint
    assert prepared.fingerprint == fingerprint  # what an encoder reads is no part of the data
