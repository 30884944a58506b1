"""Two parameter groups, and how their learning rates go over a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from quantum_rerank.similarity import FusedSimilarity

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
MLP, CIRCUIT = "mlp", "circuit"

# Of the one-cycle course, as shares of the training and of the full rate: Smith and Topin,
# "Super-Convergence", arXiv:1708.07120, with the numbers that torch's OneCycleLR has.
_RISE, _CYCLE_START, _CYCLE_END = 0.3, 1 / 25, 1 / 25e4

Course = Callable[[int], float]


def make_optimizer(
    model: FusedSimilarity,
    name: str,
    mlp_lr: float,
    circuit_lr: float,
    weight_decay: float,
    circuit_weight_decay: float,
    momentum: float,
) -> torch.optim.Optimizer:
    """MLP and circuit with their own rates and decays; `momentum` is sgd's.

    The fusion weight's logit is in the circuit's group: a decay pulls w towards 0.5.
    """
    groups: list[dict[str, Any]] = [
        {
            "params": model.head.classical_parameters(),
            "name": MLP,
            "lr": mlp_lr,
            "weight_decay": weight_decay,
        },
        {
            "params": model.circuit_parameters(),
            "name": CIRCUIT,
            "lr": circuit_lr,
            "weight_decay": circuit_weight_decay,
        },
    ]
    own: dict[str, Any] = {"momentum": momentum} if name == "sgd" else {}
    # Fused: one call a step for all parameters, not ten for each.
    return OPTIMIZERS[name]([g for g in groups if g["params"]], fused=True, **own)  # type: ignore[call-arg]


@dataclass
class Plateau:
    """A factor that falls by `by` after every `epochs` in which nothing was better than the best.

    >>> plateau = Plateau(epochs=2, by=0.5)
    >>> [plateau.observe(value) for value in (0.5, 0.5, 0.4, 0.6, 0.5, 0.5)]
    [1.0, 1.0, 0.5, 0.5, 0.5, 0.25]
    """

    epochs: int
    by: float
    factor: float = field(default=1.0, init=False)
    best: float = field(default=-math.inf, init=False)
    waited: int = field(default=0, init=False)

    def observe(self, value: float) -> float:
        """Take the next epoch's value, the higher the better; the factor from now on."""
        if value > self.best:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.waited == self.epochs:
            self.factor, self.waited = self.factor * self.by, 0
        return self.factor


class Schedule:
    """Sets the rate of every group before each step: its own, times its course's factor.

    torch's schedulers each take a rate for their own: one that follows the steps overwrites
    what one that watches the validation has set.

    courses: one for each of the optimizer's groups.
    plateau: what a course of that name reads.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, courses: Sequence[Course], plateau: Plateau
    ) -> None:
        self._optimizer = optimizer
        self._courses = courses
        self._plateau = plateau
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.go_on_at(0)

    def step(self) -> None:
        """After every step of the optimizer."""
        self.go_on_at(self._step + 1)

    def observe(self, objective: float) -> None:
        """After every validation: what it gave, the higher the better."""
        self._plateau.observe(objective)
        self.go_on_at(self._step)

    def go_on_at(self, step: int) -> None:
        """Set the rates of that step, counted from 0."""
        self._step = step
        for group, course in zip(self._optimizer.param_groups, self._courses, strict=True):
            group["lr"] = group["initial_lr"] * course(step)

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands."""
        return {"step": self._step, "plateau": asdict(self._plateau)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        vars(self._plateau).update(state["plateau"])
        self.go_on_at(state["step"])


def make_schedule(
    optimizer: torch.optim.Optimizer,
    mlp: str,
    circuit: str,
    steps_per_epoch: int,
    max_epochs: int,
    linear_warmup_epochs: float,
    step_epochs: int,
    step_factor: float,
    plateau_epochs: int,
    plateau_factor: float,
) -> Schedule:
    """The courses of both groups by name: linear warm-up, then the named one.

    circuit: `same` as `mlp`, or another.
    """
    plateau = Plateau(plateau_epochs, plateau_factor)
    total = max_epochs * steps_per_epoch
    warmup = round(linear_warmup_epochs * steps_per_epoch)
    courses: dict[str, Course] = {
        "constant": lambda step: 1.0,
        "cosine": lambda step: _falling((step - warmup) / max(total - warmup, 1)),
        "step": lambda step: float(step_factor ** (step // (step_epochs * steps_per_epoch))),
        "one_cycle": lambda step: one_cycle(step, total),
        "plateau": lambda step: plateau.factor,
    }

    def warmed_up(name: str) -> Course:
        return lambda step: (step + 1) / warmup if step < warmup else courses[name](step)

    of_circuit = mlp if circuit == "same" else circuit
    names = [
        of_circuit if group.get("name") == CIRCUIT else mlp for group in optimizer.param_groups
    ]
    return Schedule(optimizer, [warmed_up(name) for name in names], plateau)


def one_cycle(step: int, total: int) -> float:
    """The factor of a step: up to the full rate and down to nearly nothing, each half a cosine.

    >>> [round(one_cycle(step, 100), 3) for step in (0, 29, 64, 99)]
    [0.04, 1.0, 0.5, 0.0]
    """
    rise = max(_RISE * total - 1, 0.0)
    if step < rise:
        return 1.0 - (1.0 - _CYCLE_START) * _falling(step / rise)
    return _CYCLE_END + (1.0 - _CYCLE_END) * _falling((step - rise) / max(total - 1 - rise, 1))


def _falling(progress: float) -> float:
    """Half a cosine, from 1 at the start to 0 at the end."""
    return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
