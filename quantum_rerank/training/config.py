"""The configuration of a training, and the registries of its exchangeable parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from quantum_rerank.registry import Registry, name_of
from quantum_rerank.section import Section
from quantum_rerank.training.schedule import RateSchedule

if TYPE_CHECKING:
    import torch

    from quantum_rerank.training.loss_functions import Loss

Rate = Annotated[float, Field(gt=0.0, le=1.0)]
LARGEST_SEED = 2**63 - 1
"""torch's generator takes no more."""
SAME = "same"
"""The circuit's schedule is the MLP's."""

_LOSSES = "quantum_rerank.training.losses"
LOSSES: Registry[Callable[[LossConfig], Loss]] = Registry(
    "loss",
    "losses",
    {
        "triplet": f"{_LOSSES}:triplet",
        "margin_ranking": f"{_LOSSES}:margin_ranking",
        "contrastive": f"{_LOSSES}:contrastive",
        "infonce": f"{_LOSSES}:infonce",
        "infonce_candidates": f"{_LOSSES}:infonce_candidates",
        "listnet": f"{_LOSSES}:listnet",
        "approx_ndcg": f"{_LOSSES}:approx_ndcg",
    },
)
OPTIMIZERS: Registry[type[torch.optim.Optimizer]] = Registry(
    "optimizer",
    "optimizers",
    {"adam": "torch.optim:Adam", "adamw": "torch.optim:AdamW", "sgd": "torch.optim:SGD"},
)
_SCHEDULES = "quantum_rerank.training.schedule"
SCHEDULES: Registry[type[RateSchedule]] = Registry(
    "schedule",
    "schedules",
    {
        "constant": f"{_SCHEDULES}:Constant",
        "cosine": f"{_SCHEDULES}:Cosine",
        "step": f"{_SCHEDULES}:Step",
        "one_cycle": f"{_SCHEDULES}:OneCycle",
        "plateau": f"{_SCHEDULES}:Plateau",
    },
)
ScheduleName = Annotated[str, name_of(SCHEDULES)]


class WarmupConfig(Section):
    """Self-supervised start: fidelities within a batch follow the cosine neighbours.

    With a seed of its own, and a dropout rate of its own, it is the same for all trainings of
    a model whatever they do after it, and a search computes it once.
    """

    seed: int | None = Field(None, ge=0, le=LARGEST_SEED)
    dropout: float | None = Field(None, ge=0.0, lt=1.0)
    steps: int = Field(400, ge=0)
    batch_size: int = Field(128, ge=2)
    learning_rate: Rate = 0.001
    temperature: float = Field(0.05, gt=0.0)
    weight: float = Field(0.0, ge=0.0)


class LossConfig(Section):
    """The loss that is minimised, and the score that it is computed on."""

    name: Annotated[str, name_of(LOSSES)] = "triplet"
    score: Literal["fused", "fidelity"] = "fidelity"
    margin: float = Field(0.5, ge=0.0, le=2.0)
    temperature: float = Field(0.02, gt=0.0)
    negatives: int = Field(31, ge=1)
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    grade_temperature: float = Field(0.1, gt=0.0)
    spread_weight: float = Field(0.0, ge=0.0)
    spread_target: float = Field(0.05, ge=0.0, le=0.5)
    simcse_weight: float = Field(0.0, ge=0.0, le=10.0)
    simcse_temperature: float = Field(0.05, gt=0.0)


class NegativesConfig(Section):
    """The documents that stand against a query; `loss.negatives` is their number.

    Documents that were judged not relevant are drawn first.
    Losses over all candidates have every candidate, except the suspected ones.
    """

    kind: Literal["random", "semi_hard", "hard"] = "random"
    pool: int = Field(32, ge=1)
    refresh_epochs: int = Field(5, ge=1)
    false_negative_margin: float = Field(-2.0, ge=-2.0, le=2.0)


class DiscriminantConfig(Section):
    """The linear discriminant of the training queries, a model, and the start of a linear path."""

    shrinkage: float = Field(1.0, gt=0.0)
    power: float = Field(0.5, ge=0.0, le=2.0)
    negatives: int = Field(20, ge=1)


class OptimizerConfig(Section):
    """Two parameter groups, MLP and circuit, each with its own rate, decay and schedule."""

    name: Annotated[str, name_of(OPTIMIZERS)] = "adam"
    mlp_lr: Rate = 0.001
    circuit_lr: Rate = 0.01
    weight_decay: float = Field(1e-5, ge=0.0, le=1.0)
    circuit_weight_decay: float = Field(0.0, ge=0.0, le=1.0)
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    gradient_clipping: float = Field(1.0, gt=0.0)
    schedule: ScheduleName = "constant"
    circuit_schedule: Annotated[str, name_of(SCHEDULES, SAME)] = SAME
    linear_warmup_epochs: float = Field(0.0, ge=0.0)
    step_epochs: int = Field(30, ge=1)
    step_factor: float = Field(0.1, gt=0.0, le=1.0)
    plateau_epochs: int = Field(4, ge=1)
    plateau_factor: float = Field(0.5, gt=0.0, le=1.0)

    @field_validator("linear_warmup_epochs")
    @classmethod
    def _refuse_two_rises(cls, epochs: float, info: ValidationInfo) -> float:
        names = [info.data.get("schedule", SAME), info.data.get("circuit_schedule", SAME)]
        rising = [name for name in names if name != SAME and SCHEDULES[name].rises]
        if epochs and rising:
            raise PydanticCustomError(
                "rises",
                "must be 0 beside the schedule {schedule}, which has a rise of its own",
                {"schedule": rising[0]},
            )
        return epochs


class TrainingConfig(Section):
    """The loop: batches, epochs, early stopping."""

    batch_size: int = Field(32, ge=1)
    max_epochs: int = Field(100, ge=1)
    early_stopping_patience: int = Field(10, ge=1)
    min_improvement: float = Field(0.001, ge=0.0)
    ema_decay: float = Field(0.0, ge=0.0, lt=1.0)
    max_batch_documents: int = Field(1500, ge=2)
    balance: float = Field(0.0, ge=0.0, le=1.0)
    difficulty: float = Field(0.0, ge=0.0, le=1.0)
    embedding_noise: float = Field(0.0, ge=0.0, le=1.0)
    objective: Literal["ndcg@10", "mrr@10", "map"] = "ndcg@10"
