from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import beir
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import DataError, EmbeddingError
from quantum_rerank.training.data_manager import (
    Batch,
    CorpusBatches,
    PreparedData,
    QuerySet,
    TrainingBatches,
    TrialData,
    nearest_documents,
    prepare,
    query_set,
)
from quantum_rerank.training.loss_functions import Sampling

SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)
every_sampling = pytest.mark.parametrize("sampling", SAMPLINGS)
Folder = Callable[..., Path]


def batches(
    query_sets: Iterable[QuerySet],
    sampling: Sampling,
    batch_size: int = 4,
    n_negatives: int = 3,
    max_documents: int = 1500,
    seed: int = 0,
) -> TrainingBatches:
    rng = np.random.default_rng(seed)
    return TrainingBatches(tuple(query_sets), sampling, batch_size, n_negatives, max_documents, rng)


def rows_of(vectors: Tensor, table: NDArray[np.float32]) -> list[int]:
    """Find each vector in a table of distinct ones; KeyError if it is not there."""
    places = {row.tobytes(): place for place, row in enumerate(table)}
    return [places[vector.numpy().tobytes()] for vector in vectors]


def judged(batch: Batch, queries: QuerySet) -> list[tuple[set[int], set[int], set[int]]]:
    """Per query of a batch: relevant rows, rows marked positive, rows marked negative."""
    documents = np.array(rows_of(batch.documents, queries.documents))
    return [
        (
            set(queries.positives[row].tolist()),
            set(documents[batch.positive[position].numpy()].tolist()),
            set(documents[batch.negative[position].numpy()].tolist()),
        )
        for position, row in enumerate(rows_of(batch.queries, queries.queries))
    ]


# What is loaded.


def test_no_query_stands_in_two_roles(prepared: PreparedData) -> None:
    for roles in prepared.splits.values():
        for one, other in combinations(roles.values(), 2):
            assert not set(one) & set(other)


def test_a_trial_never_sees_a_test_query(prepared: PreparedData) -> None:
    trial = prepared.trial
    visible = {
        (queries.domain, query)
        for queries in (*trial.train, *trial.seen, *trial.unseen)
        for query in queries.query_ids
    }
    tested = {
        (queries.domain, query)
        for queries in (*prepared.test_seen, *prepared.test_unseen)
        for query in queries.query_ids
    }
    assert tested
    assert not visible & tested


def test_unseen_domains_are_never_trained_on(prepared: PreparedData) -> None:
    trained = {queries.domain for queries in prepared.trial.train}
    assert trained == {"beir:park", "beir:forest"}
    assert [queries.domain for queries in prepared.trial.unseen] == ["beir:garden"]
    assert [queries.domain for queries in prepared.test_unseen] == ["beir:orchard"]
    assert len(prepared.trial.unseen[0].query_ids) == 16


def test_bare_corpora_of_the_warm_up_leave_the_test_domain_out(prepared: PreparedData) -> None:
    trial = prepared.trial
    corpora = [queries.documents for queries in (*trial.train, *trial.unseen)]
    assert all(any(c is own for own in corpora) for c in trial.corpora)
    tested = prepared.test_unseen[0].documents
    assert not any(np.array_equal(corpus, tested) for corpus in trial.corpora)


def test_the_statistics_count_what_was_loaded(prepared: PreparedData) -> None:
    rows = {row["domain"]: row for row in prepared.statistics()}
    assert rows["beir:park"] == {
        "domain": "beir:park",
        "documents": 24,
        "train": 10,
        "validation": 3,
        "test": 3,
    }
    assert rows["beir:garden"]["validation"] == rows["beir:orchard"]["test"] == 16


def test_candidates_fall_by_cosine(query_set: QuerySet) -> None:
    assert query_set.candidates.shape == query_set.cosine.shape == (10, 12)
    assert (np.diff(query_set.cosine, axis=1) <= 0).all()
    expected = np.take_along_axis(
        query_set.queries @ query_set.documents.T, query_set.candidates, axis=1
    )
    np.testing.assert_allclose(query_set.cosine, expected, atol=1e-6)


def test_positives_are_the_judged_documents(query_set: QuerySet) -> None:
    for query, rows in zip(query_set.query_ids, query_set.positives, strict=True):
        found = {query_set.document_ids[row] for row in rows}
        assert found == set(query_set.qrels[query])


def test_a_collection_named_twice_is_refused() -> None:
    config = DataConfig(seen=("icd10:5",), unseen_validation=("icd10:5",), unseen_test=())
    with pytest.raises(DataError, match="icd10:5: named twice"):
        prepare(config, embedding_source("npy:nowhere"))


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


def test_the_fingerprint_follows_texts_judgments_and_splits(
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


# The nearest documents.


def test_the_nearest_documents_are_those_of_a_full_sort_in_whatever_blocks() -> None:
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(7, 5)).astype(np.float32)
    documents = rng.normal(size=(30, 5)).astype(np.float32)
    expected = [
        sorted(range(30), key=lambda d, q=q: -(queries[q] @ documents[d]))[:6] for q in range(7)
    ]
    for block in (1, 3, 256):
        rows, _ = nearest_documents(queries, documents, 6, block)
        assert rows.tolist() == expected


def test_ties_are_broken_by_row_and_a_small_corpus_gives_what_it_has() -> None:
    documents = np.ones((3, 2), dtype=np.float32)
    rows, cosine = nearest_documents(documents[:1], documents, 100)
    assert rows.tolist() == [[0, 1, 2]]
    assert cosine.tolist() == [[2.0, 2.0, 2.0]]


def test_a_query_set_keeps_the_order_it_was_asked_for(beir_folder: Folder) -> None:
    collection = beir.load(str(beir_folder()))
    rng = np.random.default_rng(0)
    queries, documents = (rng.normal(size=(n, 4)).astype(np.float32) for n in (16, 24))
    ids = list(collection.queries)[::-3]
    found = query_set(collection, queries, documents, ids, 5)
    assert list(found.query_ids) == ids
    np.testing.assert_array_equal(found.queries, queries[::-3])


# Batches.


@every_sampling
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_every_training_query_comes_once_per_epoch(
    trial_data: TrialData, sampling: Sampling, batch_size: int
) -> None:
    source = batches(trial_data.train, sampling, batch_size)
    table = np.concatenate([queries.queries for queries in trial_data.train])
    for _ in range(2):
        epoch = list(source.epoch())
        assert len(epoch) == len(source)
        seen = Counter(row for batch in epoch for row in rows_of(batch.queries, table))
        assert seen == Counter(range(len(table)))


@every_sampling
def test_every_batch_is_of_one_domain_and_domains_are_mixed(
    trial_data: TrialData, sampling: Sampling
) -> None:
    domains: list[str] = []
    for batch in batches(trial_data.train, sampling, batch_size=2).epoch():
        (home,) = (
            queries
            for queries in trial_data.train
            if batch.queries[0].tolist() in queries.queries.tolist()
        )
        rows_of(batch.queries, home.queries)
        rows_of(batch.documents, home.documents)
        domains.append(home.domain)
    assert len(set(domains)) == 2
    assert domains not in (sorted(domains), sorted(domains, reverse=True))


@every_sampling
def test_no_document_repeats_in_a_batch(query_set: QuerySet, sampling: Sampling) -> None:
    for batch in batches([query_set], sampling).epoch():
        rows = rows_of(batch.documents, query_set.documents)
        assert len(set(rows)) == len(rows)
        assert batch.positive.shape == batch.negative.shape == (len(batch.queries), len(rows))


@every_sampling
def test_positives_are_relevant_and_negatives_never_are(
    trial_data: TrialData, sampling: Sampling
) -> None:
    for queries in trial_data.train:
        for batch in batches([queries], sampling).epoch():
            for relevant, positive, negative in judged(batch, queries):
                assert positive
                assert positive <= relevant
                assert negative
                assert not negative & relevant


@every_sampling
def test_the_same_generator_gives_the_same_batches(
    trial_data: TrialData, sampling: Sampling
) -> None:
    def two_epochs(seed: int) -> list[Batch]:
        source = batches(trial_data.train, sampling, max_documents=10, seed=seed)
        return [*source.epoch(), *source.epoch()]

    def content(found: list[Batch]) -> list[list[object]]:
        return [[part.tolist() for part in vars(batch).values()] for batch in found]

    first, again, other = (content(two_epochs(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    half = len(first) // 2
    assert first[:half] != first[half:]


@pytest.mark.parametrize(("sampling", "expected"), [("one", 1), ("sampled", 3)])
def test_each_query_gets_one_positive_and_as_many_negatives_as_asked(
    query_set: QuerySet, sampling: Sampling, expected: int
) -> None:
    for batch in batches([query_set], sampling, n_negatives=3).epoch():
        assert (batch.positive.sum(dim=1) == 1).all()
        assert (batch.negative.sum(dim=1) == expected).all()


@pytest.mark.parametrize("sampling", ["one", "sampled"])
def test_negatives_are_drawn_from_the_query_s_own_candidates(
    query_set: QuerySet, sampling: Sampling
) -> None:
    for batch in batches([query_set], sampling).epoch():
        rows = rows_of(batch.queries, query_set.queries)
        for row, (_, _, negative) in zip(rows, judged(batch, query_set), strict=True):
            assert negative <= set(query_set.candidates[row].tolist())


def test_every_irrelevant_candidate_is_drawn_sooner_or_later(query_set: QuerySet) -> None:
    source = batches([query_set], "one")
    drawn: dict[int, set[int]] = {row: set() for row in range(len(query_set.query_ids))}
    for _ in range(100):
        for batch in source.epoch():
            rows = rows_of(batch.queries, query_set.queries)
            for row, (_, _, negative) in zip(rows, judged(batch, query_set), strict=True):
                drawn[row] |= negative
    for row, found in drawn.items():
        candidates = set(query_set.candidates[row].tolist())
        assert found == candidates - set(query_set.positives[row].tolist())


def test_in_batch_takes_every_irrelevant_document_of_the_batch_as_negative(
    query_set: QuerySet,
) -> None:
    for batch in batches([query_set], "in_batch").epoch():
        documents = set(rows_of(batch.documents, query_set.documents))
        for relevant, positive, negative in judged(batch, query_set):
            assert len(positive) == 1
            assert negative == documents - relevant


def test_all_candidates_takes_the_union_of_candidates_and_relevant_documents(
    query_set: QuerySet,
) -> None:
    for batch in batches([query_set], "all_candidates").epoch():
        rows = rows_of(batch.queries, query_set.queries)
        union = {d for row in rows for d in query_set.candidates[row].tolist()}
        union |= {d for row in rows for d in query_set.positives[row].tolist()}
        assert set(rows_of(batch.documents, query_set.documents)) == union
        for relevant, positive, negative in judged(batch, query_set):
            assert positive == relevant
            assert negative == union - relevant


@pytest.mark.parametrize("max_documents", [2, 10, 15])
def test_all_candidates_keeps_relevant_documents_when_it_is_cut(
    query_set: QuerySet, max_documents: int
) -> None:
    for batch in batches([query_set], "all_candidates", max_documents=max_documents).epoch():
        relevant_in_batch: set[int] = set()
        for relevant, positive, negative in judged(batch, query_set):
            assert positive == relevant
            assert negative
            relevant_in_batch |= relevant
        # At least one document stays that answers nobody.
        assert len(batch.documents) <= max(max_documents, len(relevant_in_batch) + 1)


@every_sampling
def test_a_query_all_of_whose_candidates_are_relevant_gets_no_negative(
    query_set: QuerySet, sampling: Sampling
) -> None:
    relevant = np.stack([rows[:2] for rows in query_set.positives])
    grades = np.ones(relevant.shape, dtype=np.int32)
    tight = replace(query_set, candidates=relevant, cosine=query_set.cosine[:, :2], grades=grades)
    for batch in batches([tight], sampling, batch_size=1).epoch():
        ((_, positive, negative),) = judged(batch, tight)
        assert positive
        assert not negative


def test_grades_are_the_judgments_of_the_candidates(trial_data: TrialData) -> None:
    for queries in (*trial_data.train, *trial_data.seen, *trial_data.unseen):
        assert queries.grades.any()
        for query, rows, grades in zip(
            queries.query_ids, queries.candidates, queries.grades, strict=True
        ):
            names = [queries.document_ids[row] for row in rows]
            expected = [queries.qrels[query].get(name, 0) for name in names]
            assert grades.tolist() == expected


# Bare corpora.


def test_bare_texts_come_from_one_corpus_without_repeats(trial_data: TrialData) -> None:
    source = CorpusBatches(trial_data.corpora, 8, np.random.default_rng(0))
    homes: set[int] = set()
    for _ in range(30):
        texts = source.next()
        assert texts.shape == (8, 16)
        (home,) = (
            number
            for number, corpus in enumerate(trial_data.corpora)
            if texts[0].tolist() in corpus.tolist()
        )
        assert len(set(rows_of(texts, trial_data.corpora[home]))) == 8
        homes.add(home)
    assert homes == {0, 1, 2}


def test_corpora_are_drawn_by_their_size() -> None:
    large, small = np.zeros((90, 2), np.float32), np.ones((10, 2), np.float32)
    source = CorpusBatches((large, small), 1, np.random.default_rng(0))
    share = np.mean([source.next().sum().item() == 0.0 for _ in range(1000)])
    assert share == pytest.approx(0.9, abs=0.03)


def test_a_corpus_smaller_than_the_batch_is_taken_whole() -> None:
    corpus = np.arange(6, dtype=np.float32).reshape(3, 2)
    texts = CorpusBatches((corpus,), 128, np.random.default_rng(0)).next()
    assert sorted(rows_of(texts, corpus)) == [0, 1, 2]


def test_one_collection_under_two_names_is_refused(beir_folder: Folder, tmp_path: Path) -> None:
    folder = beir_folder("trees")
    spelt = f"{folder.parent}/./{folder.name}"
    config = DataConfig(
        seen=(f"beir:{folder}",), unseen_validation=(), unseen_test=(f"beir:{spelt}",)
    )
    with pytest.raises(DataError, match="beir:trees: two collections of this name"):
        prepare(config, embedding_source(f"npy:{tmp_path}"))
