from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.batches import Batch, CorpusBatches, TrainingBatches, quotas
from quantum_rerank.training.config import LossConfig, NegativesConfig, TrainingConfig
from quantum_rerank.training.loss_functions import LEFT_ALONE, Sampling
from quantum_rerank.training.negatives import NEVER, Negatives
from quantum_rerank.training.trial_data import TrialData

SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)
every_sampling = pytest.mark.parametrize("sampling", SAMPLINGS)


def batches(
    query_sets: Iterable[QuerySet],
    sampling: Sampling,
    batch_size: int = 4,
    n_negatives: int = 3,
    max_documents: int = 1500,
    seed: int = 0,
    margin: float = NEVER,
    balance: float = 0.0,
    noise: float = 0.0,
    difficulty: float = 0.0,
) -> TrainingBatches:
    query_sets = tuple(query_sets)
    negatives = Negatives(
        query_sets,
        NegativesConfig(false_negative_margin=margin),
        LossConfig(negatives=n_negatives),
    )
    config = TrainingConfig(
        batch_size=batch_size,
        max_batch_documents=max_documents,
        balance=balance,
        difficulty=difficulty,
        embedding_noise=noise,
    )
    rng = np.random.default_rng(seed)
    return TrainingBatches(query_sets, negatives, sampling=sampling, config=config, rng=rng)


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
            set(documents[batch.grades[position].numpy() > 0].tolist()),
            set(documents[batch.grades[position].numpy() == 0].tolist()),
        )
        for position, row in enumerate(rows_of(batch.queries, queries.queries))
    ]


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
        assert batch.grades.shape == (len(batch.queries), len(rows))


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
def test_a_relevant_document_has_its_grade_and_all_others_none(
    query_set: QuerySet, sampling: Sampling
) -> None:
    found: set[int] = set()
    for batch in batches([query_set], sampling, batch_size=8).epoch():
        documents = rows_of(batch.documents, query_set.documents)
        for row, grades in zip(
            rows_of(batch.queries, query_set.queries), batch.grades.tolist(), strict=True
        ):
            judged_grades = query_set.qrels[query_set.query_ids[row]]
            for document, grade in zip(documents, grades, strict=True):
                known = judged_grades.get(query_set.document_ids[document], 0)
                assert grade in {known, LEFT_ALONE}
                found.add(grade)
    assert {0, 1, 2} <= found


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
        assert ((batch.grades > 0).sum(dim=1) == 1).all()
        assert ((batch.grades == 0).sum(dim=1) == expected).all()


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


@every_sampling
@pytest.mark.parametrize("margin", [0.0, 0.3, -0.1])
def test_unjudged_documents_near_to_the_query_are_left_alone(
    query_set: QuerySet, sampling: Sampling, margin: float
) -> None:
    cosine = query_set.queries @ query_set.documents.T
    n_negatives, n_left_alone = 0, 0
    for batch in batches([query_set], sampling, n_negatives=12, margin=margin).epoch():
        documents = np.array(rows_of(batch.documents, query_set.documents))
        rows = rows_of(batch.queries, query_set.queries)
        for row, grades in zip(rows, batch.grades.numpy(), strict=True):
            relevant = query_set.positives[row]
            limit = cosine[row, relevant].max() - margin
            assert (cosine[row, documents[grades == 0]] <= limit + 1e-6).all()
            n_negatives += (grades == 0).sum()
            others = set(documents[grades == LEFT_ALONE]) - set(relevant)
            n_left_alone += sum(cosine[row, document] > limit for document in others)
    assert n_negatives
    assert n_left_alone or margin < 0 or sampling in {"one", "sampled"}


def of_sizes(query_set: QuerySet, sizes: Sequence[int]) -> list[QuerySet]:
    """Domains of some sizes, each with the first of the same queries."""
    return [
        replace(
            query_set,
            domain=f"of {n}",
            query_ids=query_set.query_ids[:n],
            queries=query_set.queries[:n] + number,
            candidates=query_set.candidates[:n],
            cosine=query_set.cosine[:n],
            grades=query_set.grades[:n],
            positives=query_set.positives[:n],
        )
        for number, n in enumerate(sizes)
    ]


@pytest.mark.parametrize("balance", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_domains_come_as_often_as_the_balance_has_it(
    query_set: QuerySet, balance: float, batch_size: int
) -> None:
    domains = of_sizes(query_set, (10, 4, 1))
    source = batches(domains, "one", batch_size, balance=balance)
    for _ in range(2):
        epoch = list(source.epoch())
        assert len(epoch) == len(source)
        counts = [Counter[int]() for _ in domains]
        for batch in epoch:
            number = int(batch.queries.numpy().mean().round())
            rows = rows_of(batch.queries, domains[number].queries)
            assert len(set(rows)) == len(rows)
            counts[number].update(rows)
        assert [count.total() for count in counts] == quotas([10, 4, 1], balance)
        # No query comes twice before all others of its domain have come once.
        for domain, count in zip(domains, counts, strict=True):
            often = [count[row] for row in range(len(domain.query_ids))]
            assert max(often) - min(often) <= 1


def test_harder_queries_come_more_often(query_set: QuerySet) -> None:
    source = batches([query_set], "one", batch_size=3, difficulty=0.8)
    counts = Counter[int]()
    for epoch in range(200):
        n_batches = 0
        for batch in source.epoch():
            rows = rows_of(batch.queries, query_set.queries)
            source.remember(torch.tensor([9.0 if row == 4 else 1.0 for row in rows]))
            if epoch:
                counts.update(rows)
            n_batches += 1
        assert n_batches == len(source)
    assert counts.total() == 199 * 10
    # A fifth of the draws goes to all ten alike, the rest by nine parts of eighteen to the one.
    assert counts[4] / counts.total() == pytest.approx(0.02 + 0.8 * 9 / 18, abs=0.05)
    assert min(counts[row] for row in range(10)) > 50


def test_quotas_go_from_a_share_by_size_to_equal_shares() -> None:
    sizes = [7000, 500, 33, 1]
    assert quotas(sizes, 0.0) == sizes
    assert len(set(quotas(sizes, 1.0))) == 1
    small = [quotas(sizes, balance)[-1] for balance in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert small == sorted(set(small))
    assert all(abs(sum(quotas(sizes, b / 9)) - sum(sizes)) <= 2 for b in range(10))


@every_sampling
def test_noise_moves_every_vector_a_little_and_anew_each_time(
    query_set: QuerySet, sampling: Sampling
) -> None:
    def first(source: TrainingBatches) -> Batch:
        return next(source.epoch())

    bare = first(batches([query_set], sampling, 64))
    source = batches([query_set], sampling, 64, noise=0.2)
    one, other = first(source), first(source)
    assert torch.equal(one.grades, bare.grades)  # noise is drawn after all else of a batch
    assert len({tuple(row) for b in (one, other) for row in b.queries.tolist()}) == 20
    for moved, still in ((one.queries, bare.queries), (one.documents, bare.documents)):
        torch.testing.assert_close(moved.norm(dim=1), torch.ones(len(moved)))
        distance = (moved - still).norm(dim=1)
        assert (distance > 0).all()
        assert distance.mean().item() == pytest.approx(0.2, rel=0.2)


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


# What was judged not relevant, and what is the query itself.


def with_rejected(queries: QuerySet, n_rejected: int) -> QuerySet:
    """The same with the farthest candidates of every query judged not relevant."""
    rejected = tuple(
        near[np.flatnonzero(grades <= 0)[-n_rejected:]]
        for near, grades in zip(queries.candidates, queries.grades, strict=True)
    )
    return replace(queries, not_relevant=rejected)


@pytest.mark.parametrize("sampling", ["one", "sampled"])
@pytest.mark.parametrize("n_rejected", [1, 2, 5])
def test_documents_that_were_judged_not_relevant_are_drawn_before_others(
    query_set: QuerySet, sampling: Sampling, n_rejected: int
) -> None:
    queries = with_rejected(query_set, n_rejected)
    n_negatives = 1 if sampling == "one" else 3
    for batch in batches([queries], sampling).epoch():
        asked = rows_of(batch.queries, queries.queries)
        for row, (_, _, negative) in zip(asked, judged(batch, queries), strict=True):
            rejected = set(queries.not_relevant[row].tolist())
            assert len(negative) == n_negatives
            assert len(negative & rejected) == min(n_rejected, n_negatives)


def test_documents_that_were_judged_not_relevant_stay_when_candidates_are_cut(
    query_set: QuerySet,
) -> None:
    queries = with_rejected(query_set, 2)
    for batch in batches([queries], "all_candidates", 1, max_documents=5).epoch():
        (row,) = rows_of(batch.queries, queries.queries)
        found = set(rows_of(batch.documents, queries.documents))
        assert len(found) == 5
        assert set(queries.not_relevant[row].tolist()) <= found
    for batch in batches([with_rejected(query_set, 8)], "all_candidates", max_documents=9).epoch():
        assert len(batch.documents) <= max(9, 2 * len(batch.queries) + 1)


@every_sampling
def test_the_same_batches_come_where_nothing_was_judged_not_relevant(
    query_set: QuerySet, sampling: Sampling
) -> None:
    nothing = tuple(np.empty(0, dtype=np.int64) for _ in query_set.query_ids)
    queries = replace(query_set, not_relevant=nothing, own_documents=nothing)
    pairs = zip(
        batches([query_set], sampling, max_documents=8).epoch(),
        batches([queries], sampling, max_documents=8).epoch(),
        strict=True,
    )
    for one, other in pairs:
        assert torch.equal(one.documents, other.documents)
        assert torch.equal(one.grades, other.grades)


@every_sampling
def test_a_query_that_is_a_document_is_never_its_own_negative(
    query_set: QuerySet, sampling: Sampling
) -> None:
    # Every query's own document is the answer of the query after it.
    answers = [rows[0] for rows in query_set.positives]
    own = tuple(np.array([answers[row - 1]]) for row in range(len(answers)))
    own = tuple(
        np.setdiff1d(rows, relevant)
        for rows, relevant in zip(own, query_set.positives, strict=True)
    )
    queries = replace(query_set, own_documents=own)
    usable = [np.isin(near, rows) for near, rows in zip(queries.candidates, own, strict=True)]
    assert any(mask.any() for mask in usable)
    for batch in batches([queries], sampling, batch_size=64).epoch():
        asked = rows_of(batch.queries, queries.queries)
        for row, (_, _, negative) in zip(asked, judged(batch, queries), strict=True):
            assert not negative & set(own[row].tolist())
