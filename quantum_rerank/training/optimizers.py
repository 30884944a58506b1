"""Two parameter groups, and how their learning rates go over the epochs."""

from __future__ import annotations

import math

import torch
from torch.optim.lr_scheduler import LambdaLR

from quantum_rerank.similarity import FusedSimilarity

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(
    model: FusedSimilarity, name: str, mlp_lr: float, circuit_lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """MLP and circuit with their own rates; only the MLP decays.

    A decayed angle scale would pull the circuit towards not seeing the text.
    """
    groups = [
        {
            "params": model.head.classical_parameters(),
            "lr": mlp_lr,
            "weight_decay": weight_decay,
        },
        {"params": model.circuit_parameters(), "lr": circuit_lr, "weight_decay": 0.0},
    ]
    # Fused: one call a step for all parameters, not ten for each.
    return OPTIMIZERS[name]([g for g in groups if g["params"]], fused=True)  # type: ignore[call-arg]


def make_schedule(
    optimizer: torch.optim.Optimizer,
    name: str,
    steps_per_epoch: int,
    max_epochs: int,
    linear_warmup_epochs: float,
    step_epochs: int,
    step_factor: float,
) -> LambdaLR:
    """A factor on both rates, set once per step: linear warm-up, then the named course."""
    warmup_steps = round(linear_warmup_epochs * steps_per_epoch)
    total_steps = max_epochs * steps_per_epoch

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if name == "cosine":
            progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
            return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
        if name == "step":
            return float(step_factor ** (step // (step_epochs * steps_per_epoch)))
        return 1.0

    return LambdaLR(optimizer, factor)
