"""Results made by hand, whose numbers can be told without a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from experiments.results import Result

Made = Callable[..., Result]

SCORES = {
    # Two domains of two queries and one: the mean of their means is 0.5 and 0.4.
    "cosine": {"a": {"1": 0.4, "2": 0.6}, "b": {"3": 0.5}},
    "default": {"a": {"1": 0.4, "2": 0.6}, "b": {"3": 0.6}},
    "tuned": {"a": {"1": 0.6, "2": 0.8}, "b": {"3": 0.9}},
    "mlp_twin": {"a": {"1": 0.7, "2": 0.9}, "b": {"3": 1.0}},
}


@pytest.fixture
def made() -> Made:
    """A result with the scores of SCORES, or others, and a training of two epochs."""

    def build(name: str, seed: int = 1, dataset: str = "trees", **changes: Any) -> Result:
        model = {"default": "hybrid", "tuned": "hybrid"}.get(name, name)
        record = {
            "dataset": dataset,
            "name": name,
            "model": model,
            "seed": seed,
            "failed": "",
            "scores": {dataset: SCORES.get(name)},
            "objective": 0.6,
            "cosine_objective": 0.5,
            "fusion_weight": 0.5,
            "epochs": 2,
            "best_epoch": 1,
            "history": [{"epoch": epoch, "objective": 0.6, "train_loss": 1.0} for epoch in (1, 2)],
            "seconds": 2.0,
            "processor_seconds": 1.0,
            "targets": [],
            "config": {"model": model, "seed": seed},
        }
        return Result(record | changes)

    return build
