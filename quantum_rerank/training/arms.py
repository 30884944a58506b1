"""One arm, trained to its end without a search around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.similarity import Head
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.hybrid_trainer import make_descendant
from quantum_rerank.training.ranking import Validation
from quantum_rerank.training.trainer import EpochReport


@dataclass(frozen=True)
class TrainedArm:
    """The best epoch of a training: `head` holds its weights.

    history: per epoch, what was reported of it.
    """

    config: ExperimentConfig
    head: Head
    validation: Validation
    best_epoch: int
    history: tuple[dict[str, float], ...]

    @property
    def epochs(self) -> int:
        """The last epoch that was trained; those of a donor before it count."""
        return int(self.history[-1]["epoch"])


def train_arm(
    config: ExperimentConfig,
    arm: str,
    data: TrialData,
    watch: Callable[[EpochReport], None] = lambda _: None,
    before: Sequence[tuple[ExperimentConfig, int]] = (),
) -> TrainedArm:
    """Train `arm` with everything else as in `config`; `watch` sees every epoch.

    before: what has trained its weights until then, as of `make_descendant`.
    """
    overrides: dict[str, object] = {"arm": arm}
    if arm == "cosine":  # has nothing to learn
        overrides |= {"training.max_epochs": 1, "warmup.steps": 0}
    config = override(config, overrides).resolved()
    ancestors = [(override(one, overrides).resolved(), last) for one, last in before]
    trainer = make_descendant(config, ancestors, data)
    history = []
    for report in trainer.epochs():
        history.append({"epoch": report.epoch, **report.metrics})
        watch(report)
    assert trainer.best is not None
    head = trainer.model.head
    head.load_state_dict(trainer.best.head)
    best = trainer.best
    return TrainedArm(config, head.eval(), best.validation, best.epoch, tuple(history))


def train_weights(
    config: ExperimentConfig,
    before: Sequence[tuple[ExperimentConfig, int]],
    arm: str,
    data: TrialData,
) -> tuple[dict[str, Tensor], float]:
    """Train `arm` on one thread; its weights and its fusion weight, for another process to load."""
    torch.set_num_threads(1)
    trained = train_arm(config, arm, data, before=before)
    return trained.head.state_dict(), trained.validation.fusion_weight
