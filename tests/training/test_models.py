from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from quantum_rerank.config import DataConfig, ExperimentConfig, override
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import NDCG, Evaluator
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import (
    FIRST_STAGE,
    LEXICAL_MODELS,
    check_model_names,
    measure_model,
    train_model,
)
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import PreparedData, TrialData
from quantum_rerank.training.validation import Validator


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_returned_with_the_weights_of_its_best_epoch(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig], model: str
) -> None:
    reports: list[EpochReport] = []
    trained = train_model(
        small_config({"optimizer.mlp_lr": 0.1}), model, trial_data, reports.append
    )
    assert trained.config.model == model
    assert trained.epochs == len(reports)
    assert trained.best_epoch == [report.epoch for report in reports if report.improved][-1]
    assert (
        Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(
            trained.head
        )
        == trained.validation
    )


def test_a_frozen_circuit_stays_as_it_was_drawn(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    config = small_config({"model": "frozen_circuit", "warmup.steps": 2})
    drawn = make_trainer(config, trial_data).model.head.state_dict()
    trained = train_model(config, "frozen_circuit", trial_data).head.state_dict()
    assert torch.equal(trained["circuit.weights"], drawn["circuit.weights"])
    changed = [name for name in drawn if not torch.equal(trained[name], drawn[name])]
    assert changed == [name for name in drawn if name.startswith("predictor")]


@pytest.mark.parametrize("model", [*MODELS, *LEXICAL_MODELS])
def test_every_model_is_chosen_on_validation_and_scored_on_every_test_role(
    prepared: PreparedData,
    data_config: DataConfig,
    small_config: Callable[..., ExperimentConfig],
    model: str,
) -> None:
    found = measure_model(small_config(), model, prepared, Bm25(data_config))
    assert found.test.keys() == {"test", "unseen_test"}
    assert all(0.0 <= one.metrics[NDCG] <= 1.0 for one in found.test.values())
    assert found.epochs <= 3
    if model in LEXICAL_MODELS:
        assert (found.trained, found.n_trained) == (None, 0)
    else:
        assert found.trained is not None
        assert found.trained.config.seed == small_config().seed
        assert found.n_trained == found.trained.head.n_trained


def test_bm25_alone_ranks_by_nothing_else(
    prepared: PreparedData, data_config: DataConfig, small_config: Callable[..., ExperimentConfig]
) -> None:
    bm25 = Bm25(data_config)
    found = measure_model(small_config(), "bm25", prepared, bm25)
    assert found.validation.fusion_weight == 1.0
    (queries,) = prepared.unseen_test
    order = np.argsort(-bm25.affinities(queries), axis=1, kind="stable")
    ranked = np.take_along_axis(queries.candidates, order, axis=1)
    rankings = {
        query: [queries.document_ids[row] for row in rows]
        for query, rows in zip(queries.query_ids, ranked, strict=True)
    }
    values = Evaluator(queries.qrels).per_query(rankings)[NDCG]
    assert found.test["unseen_test"].metrics[NDCG] == pytest.approx(np.mean(list(values.values())))


def test_bm25_with_the_cosine_is_on_validation_no_worse_than_either(
    prepared: PreparedData, data_config: DataConfig, small_config: Callable[..., ExperimentConfig]
) -> None:
    bm25 = Bm25(data_config)
    both, alone, cosine = (
        measure_model(small_config(), model, prepared, bm25).validation.objective
        for model in ("bm25_cosine", "bm25", "cosine")
    )
    assert both >= max(alone, cosine)


def test_all_stands_for_every_model_once() -> None:
    assert (
        check_model_names(["all"])
        == check_model_names(["rbf", "all"])
        == [*MODELS, *LEXICAL_MODELS]
    )
    assert check_model_names(["rbf", "bm25"]) == ["rbf", "bm25"]


def test_every_name_that_is_no_model_is_refused_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_model_names(["rbf", "leg", "tail"])
    assert [problem.split()[0] for problem in caught.value.problems] == ["`leg`", "`tail`"]
    assert "bm25_cosine" in str(caught.value)


def test_cosine_takes_one_epoch_and_no_warm_up(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    trained = train_model(small_config({"warmup.steps": 10**9}), "cosine", trial_data)
    assert trained.epochs == 1


def test_cosine_takes_over_nothing(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    before = [(small_config({"model": "cosine"}), 2)]
    trained = train_model(small_config(), "cosine", trial_data, ancestors=before)
    assert trained.epochs == 1


@pytest.fixture(scope="module")
def with_lexical(data_config: DataConfig) -> PreparedData:
    config = data_config.model_copy(update={"lexical": "stems+ngrams"})
    return prepare(config, embedding_source(config.encoder))


def lexical_config(
    small_config: Callable[..., ExperimentConfig], data_config: DataConfig
) -> ExperimentConfig:
    changed = small_config({"fusion.gate": "nearest"}).model_copy(update={"data": data_config})
    return override(changed, {"data.lexical": "stems+ngrams"})


def test_every_candidate_has_a_lexical_score(with_lexical: PreparedData) -> None:
    sets = [queries for of_role in with_lexical.roles.values() for queries in of_role]
    for queries in sets:
        assert queries.lexical is not None
        assert queries.lexical.shape == queries.candidates.shape
        assert (queries.lexical >= 0.0).all() and (queries.lexical <= 1.0).all()
        assert queries.lexical.any()
    assert with_lexical.lexicon is not None
    n_documents = sum(len(queries.document_ids) for queries in with_lexical.trial.train)
    assert [s.n_documents for s in with_lexical.lexicon.statistics] == [n_documents] * 2


def test_the_cosine_has_neither_a_lexical_part_nor_a_gate(
    with_lexical: PreparedData,
    prepared: PreparedData,
    data_config: DataConfig,
    small_config: Callable[..., ExperimentConfig],
) -> None:
    bm25 = Bm25(data_config)
    config = lexical_config(small_config, data_config)
    cosine = measure_model(config, "cosine", with_lexical, bm25)
    plain = measure_model(small_config(), "cosine", prepared, bm25)
    assert cosine.trained is not None
    assert cosine.trained.head.lexical is None
    assert {role: scores.metrics for role, scores in cosine.test.items()} == {
        role: scores.metrics for role, scores in plain.test.items()
    }


def test_the_first_stage_is_a_baseline_of_its_own(
    with_lexical: PreparedData,
    prepared: PreparedData,
    data_config: DataConfig,
    small_config: Callable[..., ExperimentConfig],
) -> None:
    bm25, config = Bm25(data_config), lexical_config(small_config, data_config)
    measured = measure_model(config, FIRST_STAGE, with_lexical, bm25)
    cosine = measure_model(config, "cosine", with_lexical, bm25)
    assert measured.trained is None
    assert measured.validation.objective >= cosine.validation.objective
    with pytest.raises(ConfigError, match=r"Set `data\.lexical`"):
        measure_model(config, FIRST_STAGE, prepared, bm25)


def test_a_lexical_model_is_saved_with_its_weights(
    with_lexical: PreparedData,
    data_config: DataConfig,
    small_config: Callable[..., ExperimentConfig],
) -> None:
    config = lexical_config(small_config, data_config)
    trained = train_model(config, "hybrid", with_lexical.trial)
    assert trained.head.lexical is not None
    weight = trained.head.lexical.weight.item()
    assert trained.validation.metrics["lexical_weight"] == pytest.approx(weight)
    again = train_model(config, "hybrid", with_lexical.trial)
    assert again.validation == trained.validation
