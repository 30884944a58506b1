from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import NDCG, Evaluator
from quantum_rerank.similarity import ARMS
from quantum_rerank.training.arms import LEXICAL_ARMS, arms_named, measure_arm, train_arm
from quantum_rerank.training.data_manager import PreparedData, TrialData
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.ranking import Validator
from quantum_rerank.training.trainer import EpochReport


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_is_returned_with_the_weights_of_its_best_epoch(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig], arm: str
) -> None:
    reports: list[EpochReport] = []
    trained = train_arm(small_config({"optimizer.mlp_lr": 0.1}), arm, trial_data, reports.append)
    assert trained.config.arm == arm
    assert trained.epochs == len(reports)
    assert trained.best_epoch == [report.epoch for report in reports if report.improved][-1]
    assert Validator(trial_data.seen, trial_data.unseen)(trained.head) == trained.validation


def test_a_frozen_circuit_stays_as_it_was_drawn(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    config = small_config({"arm": "frozen_circuit", "warmup.steps": 2})
    drawn = make_trainer(config, trial_data).model.head.state_dict()
    trained = train_arm(config, "frozen_circuit", trial_data).head.state_dict()
    assert torch.equal(trained["circuit.weights"], drawn["circuit.weights"])
    changed = [name for name in drawn if not torch.equal(trained[name], drawn[name])]
    assert changed == [name for name in drawn if name.startswith("predictor")]


@pytest.mark.parametrize("arm", [*ARMS, *LEXICAL_ARMS])
def test_every_arm_is_chosen_on_validation_and_scored_on_every_test_role(
    prepared: PreparedData,
    data_config: DataConfig,
    small_config: Callable[..., ExperimentConfig],
    arm: str,
) -> None:
    found = measure_arm(small_config(), arm, prepared, Bm25(data_config))
    assert found.test.keys() == {"test", "test_unseen"}
    assert all(0.0 <= one.metrics[NDCG] <= 1.0 for one in found.test.values())
    assert found.epochs <= 3
    if arm in LEXICAL_ARMS:
        assert (found.trained, found.n_trained) == (None, 0)
    else:
        assert found.trained is not None
        assert found.trained.config.seed == small_config().seed
        assert found.n_trained == found.trained.head.n_trained


def test_bm25_alone_ranks_by_nothing_else(
    prepared: PreparedData, data_config: DataConfig, small_config: Callable[..., ExperimentConfig]
) -> None:
    bm25 = Bm25(data_config)
    found = measure_arm(small_config(), "bm25", prepared, bm25)
    assert found.validation.fusion_weight == 1.0
    (queries,) = prepared.test_unseen
    order = np.argsort(-bm25.affinities(queries), axis=1, kind="stable")
    ranked = np.take_along_axis(queries.candidates, order, axis=1)
    rankings = {
        query: [queries.document_ids[row] for row in rows]
        for query, rows in zip(queries.query_ids, ranked, strict=True)
    }
    values = Evaluator(queries.qrels).per_query(rankings)[NDCG]
    assert found.test["test_unseen"].metrics[NDCG] == pytest.approx(np.mean(list(values.values())))


def test_bm25_with_the_cosine_is_on_validation_no_worse_than_either(
    prepared: PreparedData, data_config: DataConfig, small_config: Callable[..., ExperimentConfig]
) -> None:
    bm25 = Bm25(data_config)
    both, alone, cosine = (
        measure_arm(small_config(), arm, prepared, bm25).validation.objective
        for arm in ("bm25_cosine", "bm25", "cosine")
    )
    assert both >= max(alone, cosine)


def test_all_stands_for_every_arm_once() -> None:
    assert arms_named(["all"]) == arms_named(["rbf", "all"]) == [*ARMS, *LEXICAL_ARMS]
    assert arms_named(["rbf", "bm25"]) == ["rbf", "bm25"]


def test_every_name_that_is_no_arm_is_refused_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        arms_named(["rbf", "leg", "tail"])
    assert [problem.split()[0] for problem in caught.value.problems] == ["`leg`", "`tail`"]
    assert "bm25_cosine" in str(caught.value)


def test_cosine_takes_one_epoch_and_no_warm_up(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    trained = train_arm(small_config({"warmup.steps": 10**9}), "cosine", trial_data)
    assert trained.epochs == 1


def test_cosine_takes_over_nothing(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    before = [(small_config({"arm": "cosine"}), 2)]
    trained = train_arm(small_config(), "cosine", trial_data, before=before)
    assert trained.epochs == 1
