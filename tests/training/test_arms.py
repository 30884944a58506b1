from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.similarity import ARMS
from quantum_rerank.training.arms import train_arm
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.hybrid_trainer import make_trainer
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


def test_cosine_takes_one_epoch_and_no_warm_up(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    trained = train_arm(small_config({"warmup.steps": 10**9}), "cosine", trial_data)
    assert trained.epochs == 1
