from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.evaluation import METRICS, Evaluator, ranking
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import Candidates, score_affinities, score_on
from quantum_rerank.similarity import MODELS, Head, build_head
from quantum_rerank.training.trial_data import TrialData


def random_head(model: str, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    return build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=2, n_layers=2),
            mlp=MlpConfig(hidden_layers=(8,), dropout=0.3),
        ),
        16,
    )


@pytest.mark.parametrize("model", MODELS)
def test_affinities_equal_a_pair_by_pair_computation(model: str, query_set: QuerySet) -> None:
    head = random_head(model)
    result = Candidates(query_set).affinities(head)
    head.eval()
    with torch.no_grad():
        for q in range(len(query_set.query_ids)):
            for k, document in enumerate(query_set.candidates[q]):
                pair = torch.from_numpy(
                    np.stack([query_set.queries[q], query_set.documents[document]])
                )
                states = head.represent(pair)
                expected = head.compare(states[:1], states[1:]).item()
                assert result[q, k] == pytest.approx(expected, abs=1e-6)


def test_more_texts_than_one_block_are_all_compared(
    query_set: QuerySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = random_head("hybrid")
    once = Candidates(query_set).affinities(head)
    many = replace(
        query_set,
        query_ids=query_set.query_ids * 30,
        queries=np.tile(query_set.queries, (30, 1)),
        candidates=np.tile(query_set.candidates, (30, 1)),
        grades=np.tile(query_set.grades, (30, 1)),
    )
    monkeypatch.setattr(ranking, "_PAIRS", 100)
    monkeypatch.setattr(ranking, "_TEXTS", 5)
    result = Candidates(many).affinities(head)
    np.testing.assert_allclose(result, np.tile(once, (30, 1)), atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_a_large_corpus_is_compared_by_candidate_with_the_same_result(
    model: str, query_set: QuerySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = random_head(model)
    one_product = Candidates(query_set).affinities(head)
    monkeypatch.setattr(ranking, "_ONE_PRODUCT", 0)
    np.testing.assert_allclose(Candidates(query_set).affinities(head), one_product, atol=1e-6)


def test_affinities_are_measured_without_dropout(query_set: QuerySet) -> None:
    head = random_head("mlp_twin").train()
    candidates = Candidates(query_set)
    np.testing.assert_array_equal(candidates.affinities(head), candidates.affinities(head))


def test_weight_zero_ranks_like_the_cosine(query_set: QuerySet) -> None:
    by_cosine = {
        query: [query_set.document_ids[row] for row in rows]
        for query, rows in zip(query_set.query_ids, query_set.candidates, strict=True)
    }
    noise = np.random.default_rng(0).uniform(size=query_set.candidates.shape)
    candidates = Candidates(query_set)
    assert candidates.rankings(candidates.beside_cosine(noise), 0.0) == by_cosine


def test_weight_one_ranks_by_the_affinity_alone(query_set: QuerySet) -> None:
    relevant = (query_set.grades > 0).astype(float)
    candidates = Candidates(query_set)
    evaluator = Evaluator(query_set.qrels)
    best = evaluator.per_query(candidates.rankings(candidates.beside_cosine(relevant), 1.0))
    worst = evaluator.per_query(candidates.rankings(candidates.beside_cosine(-relevant), 1.0))
    for query, row in zip(query_set.query_ids, relevant, strict=True):
        assert best["mrr@10"][query] == (1.0 if row.any() else 0.0)
        assert worst["mrr@10"][query] < 0.2  # 12 candidates, at most 2 of them relevant


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_means_equal_the_metrics_of_the_rankings(query_set: QuerySet, weight: float) -> None:
    affinity = np.random.default_rng(0).uniform(size=query_set.candidates.shape)
    candidates = Candidates(query_set)
    parts = candidates.beside_cosine(affinity)
    result = Evaluator(query_set.qrels).per_query(candidates.rankings(parts, weight))
    expected = {metric: np.mean(list(values.values())) for metric, values in result.items()}
    assert candidates.means(parts, weight, METRICS) == pytest.approx(expected, abs=1e-12)


def test_each_query_set_is_prepared_once_for_scoring(
    trial_data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = []

    class Watched(Candidates):
        def __init__(self, queries: QuerySet) -> None:
            prepared.append(queries)
            super().__init__(queries)

    monkeypatch.setattr(ranking, "Candidates", Watched)
    score_on(random_head("hybrid"), 0.5, trial_data.validation_in_domain)
    assert prepared == list(trial_data.validation_in_domain)


def test_scores_of_a_head_equal_the_scores_of_its_affinities(trial_data: TrialData) -> None:
    head = random_head("hybrid")
    affinities = [
        Candidates(queries).affinities(head) for queries in trial_data.validation_in_domain
    ]
    result = score_on(head, 0.5, trial_data.validation_in_domain)
    assert result == score_affinities(affinities, 0.5, trial_data.validation_in_domain)
