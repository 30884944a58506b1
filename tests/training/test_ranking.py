from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from quantum_rerank.config import ModelName
from quantum_rerank.errors import DivergedError
from quantum_rerank.evaluation import METRICS, NDCG, Evaluator
from quantum_rerank.similarity import FUSION_GRID, Head, build_head
from quantum_rerank.training import ranking
from quantum_rerank.training.data_manager import QuerySet, TrialData
from quantum_rerank.training.gating import place_gate
from quantum_rerank.training.ranking import (
    GATE_FALL,
    SPREAD,
    Candidates,
    Validator,
    losses_doubled,
    score_affinities,
    score_on,
)

MODELS: tuple[str, ...] = get_args(ModelName)
OBJECTIVES = [metric for metric in METRICS if not metric.startswith("recall")]


def random_head(model: str, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    return build_head(model, 16, (8,), 0.3, 2, 2, "cnot_chain", "lightning.qubit")


@pytest.mark.parametrize("model", MODELS)
def test_affinities_are_those_of_a_pair_by_pair_computation(
    model: str, query_set: QuerySet
) -> None:
    head = random_head(model)
    found = Candidates(query_set).affinities(head)
    head.eval()
    with torch.no_grad():
        for q in range(len(query_set.query_ids)):
            for k, document in enumerate(query_set.candidates[q]):
                pair = torch.from_numpy(
                    np.stack([query_set.queries[q], query_set.documents[document]])
                )
                states = head.represent(pair)
                expected = head.compare(states[:1], states[1:]).item()
                assert found[q, k] == pytest.approx(expected, abs=1e-6)


def test_more_texts_than_one_block_holds_are_all_compared(
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
    found = Candidates(many).affinities(head)
    np.testing.assert_allclose(found, np.tile(once, (30, 1)), atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_a_large_corpus_is_compared_candidate_by_candidate_with_the_same_result(
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


def test_weight_zero_ranks_as_the_cosine_does(query_set: QuerySet) -> None:
    by_cosine = {
        query: [query_set.document_ids[row] for row in rows]
        for query, rows in zip(query_set.query_ids, query_set.candidates, strict=True)
    }
    noise = np.random.default_rng(0).uniform(size=query_set.candidates.shape)
    assert Candidates(query_set).rankings(noise, 0.0) == by_cosine


def test_weight_one_ranks_by_the_affinity_alone(query_set: QuerySet) -> None:
    relevant = (query_set.grades > 0).astype(float)
    candidates = Candidates(query_set)
    evaluator = Evaluator(query_set.qrels)
    best = evaluator.per_query(candidates.rankings(relevant, 1.0))
    worst = evaluator.per_query(candidates.rankings(-relevant, 1.0))
    for query, row in zip(query_set.query_ids, relevant, strict=True):
        assert best["mrr@10"][query] == (1.0 if row.any() else 0.0)
        assert worst["mrr@10"][query] < 0.2  # 12 candidates, at most 2 of them relevant


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_means_are_those_of_the_rankings(query_set: QuerySet, weight: float) -> None:
    affinity = np.random.default_rng(0).uniform(size=query_set.candidates.shape)
    candidates = Candidates(query_set)
    found = Evaluator(query_set.qrels).per_query(candidates.rankings(affinity, weight))
    expected = {metric: np.mean(list(values.values())) for metric, values in found.items()}
    assert candidates.means(affinity, weight, METRICS) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(2))
def test_no_head_is_ever_below_plain_cosine(
    trial_data: TrialData, model: str, seed: int, objective: str
) -> None:
    validate = Validator(trial_data.seen, trial_data.unseen, objective)
    cosine = validate(random_head("cosine"))
    found = validate(random_head(model, seed))
    assert found.objective >= cosine.objective
    assert found.fusion_weight in FUSION_GRID


def test_plain_cosine_gains_nothing_from_itself(trial_data: TrialData) -> None:
    found = Validator(trial_data.seen, trial_data.unseen)(random_head("cosine"))
    assert found.fusion_weight == 0.0


def test_the_fusion_weight_is_the_best_of_the_grid(trial_data: TrialData) -> None:
    head = random_head("mlp_twin")
    found = Validator(trial_data.seen, ())(head)
    by_weight = {w: score_on(head, w, trial_data.seen).metrics[NDCG] for w in FUSION_GRID}
    assert found.objective == pytest.approx(max(by_weight.values()))
    assert by_weight[found.fusion_weight] == pytest.approx(max(by_weight.values()))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_seen_and_unseen_count_the_same_and_a_loss_double(
    trial_data: TrialData, objective: str
) -> None:
    validate = Validator(trial_data.seen, trial_data.unseen, objective)
    found, cosine = validate(random_head("hybrid")), validate(random_head("cosine"))
    for metric in METRICS:
        seen, unseen = found.metrics[f"val_seen_{metric}"], found.metrics[f"val_unseen_{metric}"]
        assert found.metrics[f"val_{metric}"] == pytest.approx((seen + unseen) / 2)
    names = (f"val_seen_{objective}", f"val_unseen_{objective}")
    lost = sum(max(cosine.metrics[name] - found.metrics[name], 0.0) for name in names)
    assert found.objective == pytest.approx(found.metrics[f"val_{objective}"] - lost / 2)


def test_a_gain_is_not_bought_with_a_loss_elsewhere() -> None:
    cosine = {"seen": 0.5, "unseen": 0.4}
    assert losses_doubled(cosine, cosine) == pytest.approx(0.45)
    assert losses_doubled({"seen": 0.58, "unseen": 0.34}, cosine) < 0.45
    assert losses_doubled({"seen": 0.58, "unseen": 0.40}, cosine) > 0.45


def test_without_an_unseen_domain_the_seen_ones_decide(trial_data: TrialData) -> None:
    found = Validator(trial_data.seen, ())(random_head("hybrid"))
    assert found.objective == pytest.approx(found.metrics[f"val_seen_{NDCG}"])
    assert not [name for name in found.metrics if "unseen" in name]


def test_every_domain_counts_the_same_however_many_queries_it_has(
    trial_data: TrialData,
) -> None:
    domains = (trial_data.seen[0], trial_data.unseen[0])
    assert len(domains[0].query_ids) != len(domains[1].query_ids)
    head = random_head("cosine")
    together = Validator(domains, ())(head).metrics[f"val_{NDCG}"]
    alone = [Validator((queries,), ())(head).metrics[f"val_{NDCG}"] for queries in domains]
    assert together == pytest.approx(sum(alone) / 2)


def test_scores_at_a_given_weight_are_validation_s_at_the_same_weight(
    trial_data: TrialData,
) -> None:
    head = random_head("hybrid")
    validation = Validator(trial_data.seen, ())(head)
    scores = score_on(head, validation.fusion_weight, trial_data.seen)
    for metric in METRICS:
        assert scores.metrics[metric] == pytest.approx(validation.metrics[f"val_{metric}"])
    n_queries = sum(len(queries.query_ids) for queries in trial_data.seen)
    assert len(scores.per_query[NDCG]) == n_queries


def test_the_candidates_of_a_query_set_are_laid_out_once_to_be_scored(
    trial_data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out = []

    class Watched(Candidates):
        def __init__(self, queries: QuerySet) -> None:
            laid_out.append(queries)
            super().__init__(queries)

    monkeypatch.setattr(ranking, "Candidates", Watched)
    score_on(random_head("hybrid"), 0.5, trial_data.seen)
    assert laid_out == list(trial_data.seen)


def test_scores_of_a_head_are_those_of_its_affinities(trial_data: TrialData) -> None:
    head = random_head("hybrid")
    affinities = [Candidates(queries).affinities(head) for queries in trial_data.seen]
    found = score_on(head, 0.5, trial_data.seen)
    assert found == score_affinities(affinities, 0.5, trial_data.seen)


def test_a_model_of_nan_is_not_scored_as_the_cosine(trial_data: TrialData) -> None:
    head = random_head("mlp_twin")
    for parameter in head.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="not finite"):
        Validator(trial_data.seen, trial_data.unseen)(head)


def gated_head(trial_data: TrialData, seed: int) -> Head:
    torch.manual_seed(seed)
    head = build_head(
        "hybrid", 16, (8,), 0.3, 2, 2, "cnot_chain", "lightning.qubit", gate="distance", centroids=3
    )
    assert head.gate is not None
    place_gate(head.gate, [one.queries for one in trial_data.train], np.random.default_rng(seed))
    return head


@pytest.mark.parametrize("seed", range(6))
def test_the_gate_s_fall_is_the_best_of_its_grid_and_never_worse_than_no_gate(
    trial_data: TrialData, seed: int
) -> None:
    validator = Validator(trial_data.seen, trial_data.unseen)
    head, bare = gated_head(trial_data, seed), random_head("hybrid", seed)
    bare.load_state_dict(head.state_dict(), strict=False)
    ungated, found = validator(bare), validator(head)
    assert head.gate is not None
    assert found.metrics[GATE_FALL] == head.gate.fall.item()
    assert found.metrics[SPREAD] == ungated.metrics[SPREAD]
    assert found.objective >= ungated.objective
    if not head.gate.fall:
        assert found.objective == ungated.objective
        assert found.fusion_weight == ungated.fusion_weight
    # What is scored with the fall that was set is what was validated.
    scores = score_on(head, found.fusion_weight, trial_data.unseen)
    assert scores.metrics[NDCG] == pytest.approx(found.metrics[f"val_unseen_{NDCG}"])


def test_some_gate_is_of_use(trial_data: TrialData) -> None:
    validator = Validator(trial_data.seen, trial_data.unseen)
    heads = [gated_head(trial_data, seed) for seed in range(12)]
    assert any(validator(head).metrics[GATE_FALL] for head in heads)


def test_a_gate_is_fitted_anew_whatever_was_fitted_before(trial_data: TrialData) -> None:
    validator = Validator(trial_data.seen, trial_data.unseen)
    head = gated_head(trial_data, 0)
    first = validator(head)
    assert head.gate is not None
    head.gate.fall.fill_(2.0)
    assert validator(head) == first
