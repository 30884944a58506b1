"""The loop: a generator that trains, validates and yields; the caller decides what follows."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from quantum_rerank.errors import DivergedError
from quantum_rerank.similarity import FusedSimilarity
from quantum_rerank.training.data_manager import Batch, CorpusBatches, TrainingBatches
from quantum_rerank.training.loss_functions import Loss, neighbour_divergence
from quantum_rerank.training.ranking import Validation, Validator

_REGULARISED_TEXTS = 128  # documents of a batch whose neighbourhoods are held


@dataclass(frozen=True)
class EpochReport:
    """What is known after an epoch.

    metrics: loss and validation metrics of this epoch, and `objective`, the best
        validation so far, which is what a stop now would leave.
    improved: this epoch is the best so far.
    final: no epoch will follow.
    """

    epoch: int
    metrics: dict[str, float]
    improved: bool
    final: bool


@dataclass
class EarlyStopping:
    """Stops after `patience` epochs without an improvement of at least `min_improvement`."""

    patience: int
    min_improvement: float
    _best: float = field(default=-math.inf, init=False)
    _waited: int = field(default=0, init=False)

    def should_stop(self, value: float) -> bool:
        """Take the next value, the higher the better.

        >>> stopping = EarlyStopping(patience=2, min_improvement=0.01)
        >>> [stopping.should_stop(value) for value in (0.5, 0.505, 0.52, 0.52, 0.52)]
        [False, False, False, False, True]
        """
        if value > self._best and value >= self._best + self.min_improvement:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        return self._waited >= self.patience


@dataclass(frozen=True)
class WarmUp:
    """The label-free start, and its share in the loss afterwards."""

    batches: CorpusBatches
    steps: int
    learning_rate: float
    temperature: float
    weight: float


@dataclass(frozen=True)
class BestModel:
    """The weights of the best epoch, and the fusion weight fitted to them."""

    epoch: int
    head: dict[str, Tensor]
    validation: Validation


class Trainer:
    """Trains one model; all collaborators are handed in."""

    def __init__(
        self,
        model: FusedSimilarity,
        loss: Loss,
        on_fidelity: bool,
        batches: TrainingBatches,
        warm_up: WarmUp,
        optimizer: torch.optim.Optimizer,
        schedule: LambdaLR,
        gradient_clipping: float,
        validator: Validator,
        early_stopping: EarlyStopping,
        max_epochs: int,
    ) -> None:
        self.model = model
        self.best: BestModel | None = None
        self._loss = loss
        self._on_fidelity = on_fidelity
        self._batches = batches
        self._warm_up = warm_up
        self._optimizer = optimizer
        self._schedule = schedule
        self._gradient_clipping = gradient_clipping
        self._validator = validator
        self._early_stopping = early_stopping
        self._max_epochs = max_epochs

    def epochs(self) -> Iterator[EpochReport]:
        """Warm up, then train epoch by epoch until the last or until nothing improves.

        Raises: DivergedError as soon as a loss is not finite.
        """
        self._run_warm_up()
        for epoch in range(1, self._max_epochs + 1):
            train_loss = self._train_epoch()
            validation = self._validator(self.model.head)
            improved = self.best is None or validation.objective > self.best.validation.objective
            if improved:
                weights = copy.deepcopy(self.model.head.state_dict())
                self.best = BestModel(epoch, weights, validation)
            assert self.best is not None
            stop = self._early_stopping.should_stop(validation.objective)
            metrics = {
                "objective": self.best.validation.objective,
                "train_loss": train_loss,
                "fusion_weight": validation.fusion_weight,
                "trained_fusion_weight": self.model.weight.item(),
                "learning_rate": float(self._optimizer.param_groups[0]["lr"]),
                **validation.metrics,
            }
            final = stop or epoch == self._max_epochs
            yield EpochReport(epoch, metrics, improved, final)
            if final:
                return

    def _run_warm_up(self) -> None:
        parameters = [p for p in self.model.head.parameters() if p.requires_grad]
        if not parameters:
            return
        optimizer = torch.optim.Adam(parameters, lr=self._warm_up.learning_rate, fused=True)
        self.model.train()
        for step in range(self._warm_up.steps):
            texts = self._warm_up.batches.next()
            # Nothing is named: a name would hold what the step kept through the next one.
            self._update(
                self._divergence(self.model.head.represent(texts), texts),
                optimizer,
                f"step {step + 1} of the warm-up",
            )

    def _train_epoch(self) -> float:
        if not list(self.model.head.parameters()):
            return 0.0  # plain cosine has nothing to learn
        self.model.train()
        total = 0.0
        for batch in self._batches.epoch():
            total += self._update(
                self._batch_loss(batch), self._optimizer, "a batch of the training"
            )
            self._schedule.step()
        return total / len(self._batches)

    def _batch_loss(self, batch: Batch) -> Tensor:
        compared = self.model(batch.queries, batch.documents)
        scores = compared.affinity
        if not self._on_fidelity:
            scores = self.model.fused(scores, batch.queries, batch.documents)
        loss = self._loss.compute(scores, batch.positive, batch.negative)
        if self._warm_up.weight:
            # Drawn, since the documents of a batch stand in the order of their corpus.
            drawn = torch.randperm(len(batch.documents))[:_REGULARISED_TEXTS]
            divergence = self._divergence(compared.documents[drawn], batch.documents[drawn])
            loss = loss + self._warm_up.weight * divergence
        return loss

    def _divergence(self, states: Tensor, texts: Tensor) -> Tensor:
        affinity = self.model.head.compare(states, states).float()
        return neighbour_divergence(affinity, texts @ texts.T, self._warm_up.temperature)

    def _update(self, loss: Tensor, optimizer: torch.optim.Optimizer, where: str) -> float:
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(f"The loss became {value} in {where}.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_grad_norm_(self.model.parameters(), self._gradient_clipping)
        if not torch.isfinite(norm):
            raise DivergedError(f"The gradient's norm became {norm.item()} in {where}.")
        optimizer.step()
        return value
