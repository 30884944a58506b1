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
from quantum_rerank.training.progress_file import ProgressFile, epochs_on_disk
from quantum_rerank.training.ranking import Validation
from quantum_rerank.training.trainer import EpochReport


@dataclass(frozen=True)
class TrainedArm:
    """The best epoch of a training: `head` holds its weights."""

    config: ExperimentConfig
    head: Head
    validation: Validation
    best_epoch: int
    epochs: int


def train_arm(
    config: ExperimentConfig,
    arm: str,
    data: TrialData,
    watch: Callable[[EpochReport], None] = lambda _: None,
    before: Sequence[tuple[ExperimentConfig, int]] = (),
    progress: ProgressFile | None = None,
) -> TrainedArm:
    """Train `arm` with everything else as in `config`; `watch` sees every epoch.

    before: what has trained its weights until then, as of `make_descendant`.
    progress: where it is written down, and gone on from if something is there already.
    """
    overrides: dict[str, object] = {"arm": arm}
    if arm == "cosine":  # has nothing to learn
        overrides |= {"training.max_epochs": 1, "warmup.steps": 0}
    config = override(config, overrides).resolved()
    ancestors = [(override(one, overrides).resolved(), last) for one, last in before]
    trainer = make_descendant(config, ancestors, data)
    epochs = 0
    for report in epochs_on_disk(trainer, progress) if progress else trainer.epochs():
        epochs = report.epoch
        watch(report)
    assert trainer.best is not None
    head = trainer.model.head
    head.load_state_dict(trainer.best.head)
    return TrainedArm(config, head.eval(), trainer.best.validation, trainer.best.epoch, epochs)


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
