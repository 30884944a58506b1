from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from quantum_rerank.config import ExperimentConfig, TrainingConfig
from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.early_stopping import EarlyStopping
from quantum_rerank.training.gradients import CIRCUIT_NORM, CIRCUIT_VARIANCE, MLP_NORM
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.loss_functions import neighbour_divergence
from quantum_rerank.training.trainer import (
    EpochReport,
    Trainer,
    require_no_explosion,
)
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.validation import Validator
from quantum_rerank.training.weight_average import WeightAverage

Train = Callable[[Mapping[str, Any]], Trainer]


@pytest.fixture
def trainer(trial_data: TrialData, small_config: Callable[..., ExperimentConfig]) -> Train:
    """Assemble a small training with some values of its configuration replaced."""

    def build(overrides: Mapping[str, Any]) -> Trainer:
        return make_trainer(small_config(overrides), trial_data)

    return build


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in trainer.model.head.state_dict().items()}


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_the_first_epoch_reports_what_is_known(trainer: Train) -> None:
    one = trainer({})
    report = next(one.epochs())
    assert (report.epoch, report.improved, report.final) == (1, True, False)
    assert all(isinstance(value, float) for value in report.metrics.values())
    assert all(math.isfinite(value) for value in report.metrics.values())
    assert report.metrics["objective"] == pytest.approx(report.metrics["val_ndcg@10"])
    assert 0.0 <= report.metrics["fusion_weight"] <= 1.0
    assert report.metrics["learning_rate"] == 0.001
    assert report.metrics["train_loss"] > 0.0


def test_a_training_ends_with_its_last_epoch_final(trainer: Train) -> None:
    reports = list(trainer({"training.max_epochs": 3}).epochs())
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert [report.final for report in reports] == [False, False, True]


def test_the_same_seed_gives_the_same_metrics_and_another_seed_others(trainer: Train) -> None:
    settings = {"warmup.steps": 3, "mlp.dropout": 0.3}

    def reports(seed: int) -> list[EpochReport]:
        return list(trainer(settings | {"seed": seed}).epochs())

    first = reports(1)
    assert reports(1) == first
    losses = [report.metrics["train_loss"] for report in first]
    assert [report.metrics["train_loss"] for report in reports(2)] != losses


def test_training_lowers_the_loss(trainer: Train) -> None:
    settings = {"training.max_epochs": 15, "optimizer.mlp_lr": 0.01, "mlp.dropout": 0.0}
    losses = [
        report.metrics["train_loss"]
        for report in trainer(settings | {"training.early_stopping_patience": 99}).epochs()
    ]
    assert losses[-1] < 0.7 * losses[0]


def test_early_stopping_ends_with_a_final_report(trainer: Train) -> None:
    one = trainer(
        {
            "training.max_epochs": 50,
            "training.early_stopping_patience": 2,
            "training.min_improvement": 1.0,  # of a metric that is at most 1
        }
    )
    reports = list(one.epochs())
    assert [report.final for report in reports] == [False, False, True]


def test_the_objective_reported_is_the_best_so_far(trainer: Train) -> None:
    reports = list(
        trainer(
            {
                "training.max_epochs": 12,
                "optimizer.mlp_lr": 0.1,
                "training.early_stopping_patience": 99,
            }
        ).epochs()
    )
    best = 0.0
    for report in reports:
        objective = report.metrics["objective"]
        assert report.improved == (objective > best)
        best = max(best, report.metrics["val_ndcg@10"])
        assert objective == pytest.approx(best)
        best = objective
    assert not all(report.improved for report in reports)


def test_the_best_weights_are_kept(trainer: Train, trial_data: TrialData) -> None:
    one = trainer({"training.max_epochs": 8, "optimizer.mlp_lr": 0.1})
    at_best: dict[str, Tensor] = {}
    best_epoch = 0
    for report in one.epochs():
        if report.improved:
            at_best, best_epoch = weights(one), report.epoch
    assert one.best is not None
    assert one.best.epoch == best_epoch
    assert same(one.best.head, at_best)
    assert not same(one.best.head, weights(one))
    one.model.head.load_state_dict(one.best.head)
    again = Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(
        one.model.head
    )
    assert again == one.best.validation


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        ({"warmup.steps": 1, "warmup.temperature": 1e-300}, "step 1 of the warm-up"),
        ({"loss.name": "infonce", "loss.temperature": 1e-300}, "a batch of the training"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_training(
    trainer: Train, overrides: dict[str, Any], where: str
) -> None:
    with pytest.raises(DivergedError, match=f"The loss became .* in {where}"):
        next(trainer(overrides).epochs())


@pytest.mark.parametrize("model", ["hybrid", "mlp_twin", "quantum_only"])
def test_the_warm_up_brings_affinities_nearer_to_the_cosine_neighbours(
    trainer: Train, trial_data: TrialData, model: str
) -> None:
    settings = {
        "model": model,
        "mlp.dropout": 0.0,
        "warmup.learning_rate": 0.02,
        # What comes after the warm-up is not to be seen.
        "optimizer.mlp_lr": 1e-12,
        "optimizer.circuit_lr": 1e-12,
    }

    def divergence(steps: int) -> float:
        one = trainer(settings | {"warmup.steps": steps})
        next(one.epochs())
        head = one.model.head.eval()
        with torch.no_grad():
            texts = torch.from_numpy(trial_data.corpora[0])
            states = head.represent(texts)
            affinity = head.compare(states, states).float()
            return neighbour_divergence(affinity, texts @ texts.T, 0.05).item()

    assert divergence(steps=30) < 0.95 * divergence(steps=0)


def test_the_warm_up_leaves_the_fusion_weight_alone(trainer: Train) -> None:
    frozen = {"optimizer.mlp_lr": 1e-12, "optimizer.circuit_lr": 1e-12}
    report = next(trainer(frozen | {"warmup.steps": 20}).epochs())
    assert report.metrics["trained_fusion_weight"] == pytest.approx(0.5)


@pytest.mark.parametrize(("on", "moves"), [("fidelity", False), ("fused", True)])
def test_the_fusion_weight_is_trained_by_a_loss_on_the_fused_score(
    trainer: Train, on: str, moves: bool
) -> None:
    report = next(trainer({"loss.score": on, "loss.name": "infonce"}).epochs())
    moved = abs(report.metrics["trained_fusion_weight"] - 0.5) > 1e-4
    assert moved == moves


def test_the_regulariser_adds_to_the_loss(trainer: Train) -> None:
    settings = {"mlp.dropout": 0.0, "optimizer.mlp_lr": 1e-12, "optimizer.circuit_lr": 1e-12}
    bare, held, held_twice = (
        next(trainer(settings | {"warmup.weight": weight}).epochs()).metrics["train_loss"]
        for weight in (0.0, 1.0, 2.0)
    )
    assert held > bare
    assert held_twice - bare == pytest.approx(2 * (held - bare), rel=1e-4)


def test_too_little_spread_adds_to_the_loss(trainer: Train) -> None:
    settings = {"mlp.dropout": 0.0, "optimizer.mlp_lr": 1e-12, "optimizer.circuit_lr": 1e-12}

    def loss(weight: float, target: float) -> float:
        spread = {"loss.spread_weight": weight, "loss.spread_target": target}
        return next(trainer(settings | spread).epochs()).metrics["train_loss"]

    bare = loss(0.0, 0.5)
    assert bare < loss(1.0, 0.4) < loss(1.0, 0.5)
    assert loss(2.0, 0.5) - bare == pytest.approx(2 * (loss(1.0, 0.5) - bare), rel=1e-4)
    assert loss(1.0, 0.0) == bare


@pytest.mark.parametrize("model", MODELS)
def test_views_under_two_dropout_masks_add_to_the_loss(trainer: Train, model: str) -> None:
    settings = {"model": model, "optimizer.mlp_lr": 1e-12, "optimizer.circuit_lr": 1e-12}

    def loss(weight: float) -> float:
        views = {"loss.simcse_weight": weight, "loss.simcse_temperature": 0.5, "mlp.dropout": 0.0}
        return next(trainer(settings | views).epochs()).metrics["train_loss"]

    bare = loss(0.0)
    assert loss(2.0) - bare == pytest.approx(2 * (loss(1.0) - bare), rel=1e-3)
    assert loss(1.0) > bare or not MODELS[model].is_trainable


def test_the_two_views_of_a_text_are_of_different_masks(trainer: Train) -> None:
    settings = {
        "optimizer.mlp_lr": 1e-12,
        "optimizer.circuit_lr": 1e-12,
        "loss.simcse_weight": 1.0,
        "loss.simcse_temperature": 0.001,  # so that any distance from one's own view costs much
        "loss.name": "triplet",
        "loss.margin": 0.0,
    }
    none, some = (
        next(trainer(settings | {"mlp.dropout": dropout}).epochs()).metrics["train_loss"]
        for dropout in (0.0, 0.5)
    )
    assert some > none + 1.0


def test_views_that_do_not_count_change_nothing(trainer: Train) -> None:
    settings = {"mlp.dropout": 0.3, "loss.spread_weight": 0.5, "loss.spread_target": 0.4}
    left, right = (
        list(trainer(settings | {"loss.simcse_temperature": t}).epochs()) for t in (0.05, 1.0)
    )
    assert left == right


def test_the_schedule_reaches_the_optimizer(trainer: Train) -> None:
    rates = [
        report.metrics["learning_rate"]
        for report in trainer({"optimizer.schedule": "cosine"}).epochs()
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_a_plateau_of_the_validation_lowers_the_rates(trainer: Train) -> None:
    one = trainer(
        {
            "optimizer.mlp_lr": 1e-9,  # so that nothing improves
            "optimizer.circuit_lr": 1e-9,
            "optimizer.schedule": "plateau",
            "optimizer.plateau_epochs": 2,
            "training.max_epochs": 5,
        }
    )
    rates = [report.metrics["learning_rate"] for report in one.epochs()]
    assert rates == pytest.approx([1e-9, 1e-9, 5e-10, 5e-10, 2.5e-10])


def test_the_averaged_weights_are_validated_and_kept_but_not_trained_on(
    trainer: Train, trial_data: TrialData
) -> None:
    settings = {
        "training.max_epochs": 6,
        "optimizer.mlp_lr": 0.1,
        "training.early_stopping_patience": 9,
    }
    plain, expected, losses = trainer(settings), WeightAverage(0.6), []
    for report in plain.epochs():
        losses.append(report.metrics["train_loss"])
        expected.include(plain.model.head)
    one = trainer(settings | {"training.ema_decay": 0.6})
    reports = list(one.epochs())
    assert [report.metrics["train_loss"] for report in reports] == losses
    assert same(weights(one), weights(plain))
    with expected.in_place(plain.model.head):
        found = Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(
            plain.model.head
        )
    assert reports[-1].metrics["val_ndcg@10"] == found.metrics["val_ndcg@10"]
    assert one.best is not None
    one.model.head.load_state_dict(one.best.head)
    assert (
        Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(
            one.model.head
        )
        == one.best.validation
    )


def test_gradients_are_clipped(trainer: Train) -> None:
    clipped = trainer({"optimizer.gradient_clipping": 1e-6})
    next(clipped.epochs())
    norms = [p.grad.norm() for p in clipped.model.parameters() if p.grad is not None]
    assert torch.stack(norms).norm() <= 1e-6 * (1 + 1e-3)


def test_gradients_of_both_groups_are_reported(trainer: Train) -> None:
    one = trainer({"optimizer.gradient_clipping": 1e-6, "warmup.steps": 2})
    for report in one.epochs():
        assert report.warning == ""
        for key in (MLP_NORM, CIRCUIT_NORM, CIRCUIT_VARIANCE):
            assert report.metrics[key] > 1e-6, key


def test_a_circuit_that_gets_no_gradient_is_reported_and_goes_on(trainer: Train) -> None:
    flat = {"loss.name": "infonce", "loss.temperature": 1e6}
    reports = list(trainer(flat).epochs())
    assert [report.final for report in reports] == [False, False, True]
    assert all("gradients vanish" in report.warning for report in reports)


def test_a_loss_that_grows_beyond_hope_ends_the_training(trainer: Train) -> None:
    one = trainer({"loss.name": "infonce", "loss.temperature": 1e-3})
    next(one.epochs())
    # As if the first epoch had ended with next to nothing of it.
    one.load_state_dict({**copy.deepcopy(one.state_dict()), "first_loss": 1e-9})
    with pytest.raises(DivergedError, match=r"grew from 1e-09 .* to [\d.]+, more than"):
        next(one.epochs())


@pytest.mark.parametrize(
    ("first", "now", "exploded"),
    [
        (0.5, 49.0, False),
        (0.5, 51.0, True),
        (0.0, 9.0, False),
        (0.0, 11.0, True),
        (-0.9, -0.2, False),  # losses that are gains with their sign turned
    ],
)
def test_an_explosion_is_a_hundred_times_the_first_loss(
    first: float, now: float, exploded: bool
) -> None:
    with pytest.raises(DivergedError) if exploded else nullcontext():
        require_no_explosion(first, now)


def test_plain_cosine_trains_nothing_and_still_reports(trainer: Train) -> None:
    one = trainer({"model": "cosine", "warmup.steps": 2})
    reports = list(one.epochs())
    assert reports[-1].final
    assert reports[0].metrics["objective"] == reports[-1].metrics["objective"]


def test_early_stopping_waits_for_its_patience() -> None:
    stopping = EarlyStopping(TrainingConfig(early_stopping_patience=3, min_improvement=0.1))
    stops = [stopping.should_stop(value) for value in (0.5, 0.55, 0.59, 0.4)]
    assert stops == [False, False, False, True]


def test_an_improvement_starts_the_wait_anew() -> None:
    stopping = EarlyStopping(TrainingConfig(early_stopping_patience=2, min_improvement=0.1))
    values = (0.5, 0.5, 0.7, 0.7, 0.7)
    assert [stopping.should_stop(value) for value in values] == [False] * 4 + [True]


def test_small_gains_count_once_they_add_up() -> None:
    stopping = EarlyStopping(TrainingConfig(early_stopping_patience=2, min_improvement=0.1))
    values = (0.5, 0.5625, 0.625, 0.6875, 0.75)
    assert not any(stopping.should_stop(value) for value in values)


def test_a_value_that_stays_the_same_is_no_improvement_however_small_one_may_be() -> None:
    stopping = EarlyStopping(TrainingConfig(early_stopping_patience=2, min_improvement=0.0))
    assert [stopping.should_stop(0.5) for _ in range(3)] == [False, False, True]


def test_a_model_that_gives_all_texts_one_state_is_saturated(trainer: Train) -> None:
    one = trainer({"warmup.steps": 0, "optimizer.mlp_lr": 1e-12, "optimizer.circuit_lr": 1e-12})
    with torch.no_grad():
        for weight in one.model.head.parameters():
            weight.zero_()
    with pytest.raises(SaturatedError, match="Scores collapsed"):
        next(one.epochs())
