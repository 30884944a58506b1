from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import NDCG, Evaluator
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import (
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
