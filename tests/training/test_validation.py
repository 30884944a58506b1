from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from quantum_rerank.config import (
    CircuitConfig,
    ExperimentConfig,
    FusionConfig,
    MlpConfig,
)
from quantum_rerank.errors import DivergedError
from quantum_rerank.evaluation import METRICS, NDCG
from quantum_rerank.evaluation.comparison import paired_standard_error
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.similarity import FUSION_GRID, MODELS, Head, LexicalPart, build_head
from quantum_rerank.training.gating import place_gate
from quantum_rerank.training.objective import lead_share, penalise_losses
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.validation import (
    GATE_HIGH,
    LEXICAL_WEIGHT,
    SPREAD,
    Validator,
)

OBJECTIVES = [metric for metric in METRICS if not metric.startswith("recall")]


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


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(5))
def test_no_head_is_ever_below_plain_cosine(
    trial_data: TrialData, model: str, seed: int, objective: str
) -> None:
    validate = Validator(
        trial_data.validation_in_domain, trial_data.validation_out_of_domain, objective
    )
    cosine = validate(random_head("cosine"))
    validation = validate(random_head(model, seed))
    assert validation.objective >= cosine.objective
    assert 0.0 <= validation.fusion_weight <= 1.0


def test_plain_cosine_gains_nothing_from_itself(trial_data: TrialData) -> None:
    validation = Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(
        random_head("cosine")
    )
    assert validation.fusion_weight == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_fusion_weight_is_the_best_of_the_grid_as_far_as_its_lead_is_certain(
    trial_data: TrialData, seed: int
) -> None:
    head = random_head("mlp_twin", seed)
    validation = Validator(trial_data.validation_in_domain, ())(head)
    by_weight = {w: score_on(head, w, trial_data.validation_in_domain) for w in FUSION_GRID}
    best = max(FUSION_GRID, key=lambda w: by_weight[w].metrics[NDCG])
    lead = by_weight[best].metrics[NDCG] - by_weight[0.0].metrics[NDCG]
    error = paired_standard_error(
        by_weight[best].per_query[NDCG], by_weight[0.0].per_query[NDCG], by_weight[0.0].domains
    )
    assert validation.fusion_weight == pytest.approx(best * lead_share(lead, error))
    assert validation.objective == pytest.approx(validation.metrics[f"val_seen_{NDCG}"])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_in_and_out_of_domain_count_the_same_and_losses_are_penalised_twice(
    trial_data: TrialData, objective: str
) -> None:
    validate = Validator(
        trial_data.validation_in_domain, trial_data.validation_out_of_domain, objective
    )
    validation, cosine = validate(random_head("hybrid")), validate(random_head("cosine"))
    for metric in METRICS:
        seen, unseen = (
            validation.metrics[f"val_seen_{metric}"],
            validation.metrics[f"val_unseen_{metric}"],
        )
        assert validation.metrics[f"val_{metric}"] == pytest.approx((seen + unseen) / 2)
    names = (f"val_seen_{objective}", f"val_unseen_{objective}")
    lost = sum(max(cosine.metrics[name] - validation.metrics[name], 0.0) for name in names)
    assert validation.objective == pytest.approx(validation.metrics[f"val_{objective}"] - lost / 2)


def test_a_gain_does_not_make_up_for_a_loss_in_another_role() -> None:
    cosine = {"seen": 0.5, "unseen": 0.4}
    assert penalise_losses(cosine, cosine) == pytest.approx(0.45)
    assert penalise_losses({"seen": 0.58, "unseen": 0.34}, cosine) < 0.45
    assert penalise_losses({"seen": 0.58, "unseen": 0.40}, cosine) > 0.45


def test_without_an_unseen_domain_the_objective_is_that_of_the_seen_ones(
    trial_data: TrialData,
) -> None:
    validation = Validator(trial_data.validation_in_domain, ())(random_head("hybrid"))
    assert validation.objective == pytest.approx(validation.metrics[f"val_seen_{NDCG}"])
    assert not [name for name in validation.metrics if "unseen" in name]


def test_every_domain_counts_the_same_however_many_queries_it_has(
    trial_data: TrialData,
) -> None:
    domains = (trial_data.validation_in_domain[0], trial_data.validation_out_of_domain[0])
    assert len(domains[0].query_ids) != len(domains[1].query_ids)
    head = random_head("cosine")
    together = Validator(domains, ())(head).metrics[f"val_{NDCG}"]
    alone = [Validator((queries,), ())(head).metrics[f"val_{NDCG}"] for queries in domains]
    assert together == pytest.approx(sum(alone) / 2)


def test_scores_equal_those_of_validation_at_the_same_weight(
    trial_data: TrialData,
) -> None:
    head = random_head("hybrid")
    validation = Validator(trial_data.validation_in_domain, ())(head)
    scores = score_on(head, validation.fusion_weight, trial_data.validation_in_domain)
    for metric in METRICS:
        assert scores.metrics[metric] == pytest.approx(validation.metrics[f"val_{metric}"])
    n_queries = sum(len(queries.query_ids) for queries in trial_data.validation_in_domain)
    assert len(scores.per_query[NDCG]) == n_queries


def test_a_model_with_nan_weights_is_an_error(trial_data: TrialData) -> None:
    head = random_head("mlp_twin")
    for parameter in head.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="not finite"):
        Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(head)


def gated_head(trial_data: TrialData, seed: int) -> Head:
    torch.manual_seed(seed)
    head = build_head(
        ExperimentConfig(
            model="hybrid",
            circuit=CircuitConfig(n_qubits=2, n_layers=2),
            mlp=MlpConfig(hidden_layers=(8,), dropout=0.3),
            fusion=FusionConfig(gate="nearest"),
        ),
        16,
    )
    assert head.gate is not None
    place_gate(
        head.gate, [queries.queries for queries in trial_data.train], np.random.default_rng(seed)
    )
    return head


@pytest.mark.parametrize("seed", range(6))
def test_a_fitted_gate_is_never_worse_than_no_gate(trial_data: TrialData, seed: int) -> None:
    validator = Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)
    head, bare = gated_head(trial_data, seed), random_head("hybrid", seed)
    bare.load_state_dict(head.state_dict(), strict=False)
    ungated, validation = validator(bare), validator(head)
    assert head.gate is not None
    assert validation.metrics[GATE_HIGH] == head.gate.high.item()
    assert validation.metrics[SPREAD] == ungated.metrics[SPREAD]
    assert validation.objective >= ungated.objective
    if not head.gate.high:
        assert validation.objective == ungated.objective
        assert validation.fusion_weight == ungated.fusion_weight
    # What is scored with the gate that was set is what was validated.
    scores = score_on(head, validation.fusion_weight, trial_data.validation_out_of_domain)
    assert scores.metrics[NDCG] == pytest.approx(validation.metrics[f"val_unseen_{NDCG}"])


def test_some_gate_improves_the_objective(trial_data: TrialData) -> None:
    validator = Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)
    heads = [gated_head(trial_data, seed) for seed in range(60)]
    assert any(validator(head).metrics[GATE_HIGH] for head in heads)


def test_fitting_a_gate_does_not_depend_on_how_it_was_set(trial_data: TrialData) -> None:
    validator = Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)
    head = gated_head(trial_data, 0)
    first = validator(head)
    assert head.gate is not None
    head.gate.high.fill_(0.9)
    assert validator(head) == first


def with_lexical(data: TrialData, relevant: float, noise: float) -> TrialData:
    """Data whose lexical score is the relevance, with noise."""
    rng = np.random.default_rng(0)

    def scored(sets: tuple[QuerySet, ...]) -> tuple[QuerySet, ...]:
        return tuple(
            replace(
                queries,
                lexical=relevant * (queries.grades > 0) + noise * rng.random(queries.cosine.shape),
            )
            for queries in sets
        )

    return TrialData(
        data.train,
        scored(data.validation_in_domain),
        scored(data.validation_out_of_domain),
    )


def lexical_head(model: str, seed: int = 0) -> Head:
    head = random_head(model, seed)
    head.lexical = LexicalPart()
    return head


@pytest.mark.parametrize("seed", range(3))
def test_a_lexical_score_that_helps_gets_a_weight(trial_data: TrialData, seed: int) -> None:
    data = with_lexical(trial_data, relevant=0.5, noise=0.3)
    validate = Validator(data.validation_in_domain, data.validation_out_of_domain)
    head = lexical_head("hybrid", seed)
    validation = validate(head)
    assert head.lexical is not None
    assert head.lexical.weight.item() > 0.0
    assert validation.metrics[LEXICAL_WEIGHT] == pytest.approx(head.lexical.weight.item())
    assert validation.objective > validate(random_head("hybrid", seed)).objective


@pytest.mark.parametrize("model", ["hybrid", "mlp_twin", "cosine"])
@pytest.mark.parametrize("seed", range(5))
def test_a_lexical_part_is_never_below_the_cosine(
    trial_data: TrialData, model: str, seed: int
) -> None:
    data = with_lexical(trial_data, relevant=0.0, noise=1.0)
    validate = Validator(data.validation_in_domain, data.validation_out_of_domain)
    assert (
        validate(lexical_head(model, seed)).objective >= validate(random_head("cosine")).objective
    )


def test_the_scores_are_those_of_the_fitted_weights(trial_data: TrialData) -> None:
    data = with_lexical(trial_data, relevant=0.5, noise=0.3)
    head = lexical_head("mlp_twin")
    validation = Validator(data.validation_in_domain, ())(head)
    scores = score_on(head, validation.fusion_weight, data.validation_in_domain)
    assert scores.metrics[NDCG] == pytest.approx(validation.metrics[f"val_seen_{NDCG}"])


def test_one_query_of_a_domain_decides_nothing(trial_data: TrialData) -> None:
    data = with_lexical(trial_data, relevant=0.5, noise=0.3)
    alone = first_query(data.validation_in_domain[0])
    validation = Validator((alone,), ())(lexical_head("hybrid"))
    prior = [math.exp(-(((weight - 0.3) / 0.35) ** 2) / 2.0) for weight in FUSION_GRID]
    expected = np.average(FUSION_GRID, weights=prior)
    assert validation.metrics[LEXICAL_WEIGHT] == pytest.approx(expected)


def test_the_first_stage_alone_is_fitted_on_domains_that_are_not_trained_on(
    trial_data: TrialData,
) -> None:
    data = with_lexical(trial_data, relevant=0.5, noise=0.3)
    head, unseen = lexical_head("hybrid"), lexical_head("mlp_twin")
    Validator(data.validation_in_domain, data.validation_out_of_domain)(head)
    Validator(data.validation_out_of_domain, ())(unseen)
    assert head.lexical is not None and unseen.lexical is not None
    assert head.lexical.weight_alone == unseen.lexical.weight_alone


def first_query(queries: QuerySet) -> QuerySet:
    assert queries.lexical is not None
    return replace(
        queries,
        query_ids=queries.query_ids[:1],
        queries=queries.queries[:1],
        candidates=queries.candidates[:1],
        cosine=queries.cosine[:1],
        grades=queries.grades[:1],
        positives=queries.positives[:1],
        lexical=queries.lexical[:1],
    )
