"""Two parameter groups, MLP and circuit, and the learning rates of a training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from quantum_rerank.similarity import FusedSimilarity
from quantum_rerank.training.checked import checked_count, checked_tensor
from quantum_rerank.training.config import OPTIMIZERS, SAME, SCHEDULES, OptimizerConfig
from quantum_rerank.training.schedule import RateSchedule, Steps

MLP, CIRCUIT = "mlp", "circuit"
_LIKE_PARAMETER = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")


def make_optimizer(model: FusedSimilarity, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build an optimizer with one parameter group for the MLP and one for the circuit.

    The fusion weight's logit is in the circuit's group: a decay pulls w towards 0.5.

    Args:
        model: The model to train.
        config: Name of the optimizer, rates and decays of the groups; the momentum goes to
            optimizers that take one.
    """
    groups: list[dict[str, Any]] = [
        {
            "params": model.head.classical_parameters(),
            "name": MLP,
            "lr": config.mlp_lr,
            "weight_decay": config.weight_decay,
        },
        {
            "params": model.circuit_parameters(),
            "name": CIRCUIT,
            "lr": config.circuit_lr,
            "weight_decay": config.circuit_weight_decay,
        },
    ]
    optimizer = OPTIMIZERS[config.name]
    # Fused: one call a step for all parameters, not ten for each.
    settings = {"momentum": config.momentum, "fused": True}
    accepted = inspect.signature(optimizer).parameters
    options: dict[str, Any] = {key: settings[key] for key in settings if key in accepted}
    return optimizer([group for group in groups if group["params"]], **options)


def require_moments(optimizer: torch.optim.Optimizer) -> None:
    """Check moments that were read from a file.

    Raises:
        ValueError: A moment has another shape or type than its parameter, or is not finite.
    """
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if name in _LIKE_PARAMETER and moment is not None:
                checked_tensor(moment, parameter.detach(), name)


class Schedule:
    """The learning rates of all groups: each group's rate times its schedule's factor.

    torch's schedulers each overwrite the rate: one that follows the steps would undo the
    changes of one that watches the validation.

    Args:
        optimizer: The optimizer whose rates are set.
        schedules: One schedule for each of the optimizer's groups.
        steps: The length of the training; its linear warm-up comes before every schedule.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedules: Sequence[RateSchedule], steps: Steps
    ) -> None:
        self._optimizer = optimizer
        self._schedules = schedules
        self._warm_up = steps.warm_up
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.set_step(0)

    def step(self) -> None:
        """Set the rates of the next step, after a step of the optimizer."""
        self.set_step(self._step + 1)

    def observe(self, objective: float) -> None:
        """Take the objective of a validation, the higher the better."""
        for schedule in self._schedules:
            schedule.observe(objective)
        self.set_step(self._step)

    def set_step(self, step: int) -> None:
        """Set the rates of a step, counted from 0."""
        self._step = step
        for group, schedule in zip(self._optimizer.param_groups, self._schedules, strict=True):
            group["lr"] = group["initial_lr"] * self._factor(schedule, step)

    def _factor(self, schedule: RateSchedule, step: int) -> float:
        return (step + 1) / self._warm_up if step < self._warm_up else schedule.factor(step)

    def state_dict(self) -> dict[str, Any]:
        """Return the step and the states of the schedules."""
        states = [schedule.state_dict() for schedule in self._schedules]
        return {"step": self._step, "schedules": states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        for schedule, own_state in zip(self._schedules, state["schedules"], strict=True):
            schedule.load_state_dict(own_state)
        self.set_step(checked_count(state["step"], "step"))


def make_schedule(
    optimizer: torch.optim.Optimizer,
    config: OptimizerConfig,
    steps_per_epoch: int,
    max_epochs: int,
) -> Schedule:
    """Build the schedules of both groups: a linear warm-up, then the configured schedule.

    Args:
        optimizer: An optimizer of `make_optimizer`.
        config: Names and numbers of the schedules.
        steps_per_epoch: Optimizer steps of an epoch.
        max_epochs: Epochs of the training, if it is not stopped early.
    """
    steps = Steps(
        per_epoch=steps_per_epoch,
        total=max_epochs * steps_per_epoch,
        warm_up=round(config.linear_warmup_epochs * steps_per_epoch),
    )
    circuit = config.schedule if config.circuit_schedule == SAME else config.circuit_schedule
    names = [
        circuit if group.get("name") == CIRCUIT else config.schedule
        for group in optimizer.param_groups
    ]
    return Schedule(optimizer, [SCHEDULES[name](config, steps) for name in names], steps)
