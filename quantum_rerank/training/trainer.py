"""The loop: a generator that trains, validates and yields; the caller decides what follows."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.similarity import FusedSimilarity
from quantum_rerank.training.batches import Batch, CorpusBatches, TrainingBatches
from quantum_rerank.training.gradients import GradientWatch
from quantum_rerank.training.loss_functions import (
    Loss,
    neighbour_divergence,
    simcse_loss,
    spread_shortfall,
)
from quantum_rerank.training.optimizers import Schedule
from quantum_rerank.training.validation import SPREAD, Validation, Validator
from quantum_rerank.training.weight_average import WeightAverage

_LEAST_SPREAD = 1e-6  # of affinities in [0, 1]: some ten steps of a float32
_REGULARISED_TEXTS = 128  # documents of a batch whose neighbours, spread and views are held
_EXPLODED = 100.0  # times the first epoch's loss


@dataclass(frozen=True)
class EpochReport:
    """What is known after an epoch.

    metrics: loss and validation metrics of this epoch, and `objective`, the best
        validation so far, which is what a stop now would leave.
    improved: this epoch is the best so far.
    final: no epoch will follow.
    warning: what is wrong with it, though not so that the training would end; else empty.
    """

    epoch: int
    metrics: dict[str, float]
    improved: bool
    final: bool
    warning: str = ""


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

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, and how many epochs ago it was."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self._best, self._waited = state["best"], state["waited"]


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
    """Trains one model; all collaborators are handed in.

    Between two epochs its state can be taken, and put into another trainer of the
    same configuration and data, which then goes on bit for bit as this one would.
    """

    def __init__(
        self,
        model: FusedSimilarity,
        loss: Loss,
        on_fidelity: bool,
        batches: TrainingBatches,
        warm_up: WarmUp,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        gradient_clipping: float,
        average: WeightAverage,
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
        self._gradients = GradientWatch(model)
        self._gradient_clipping = gradient_clipping
        self._average = average
        self._validator = validator
        self._early_stopping = early_stopping
        self._max_epochs = max_epochs
        self._epochs_done = 0
        self._first_loss: float | None = None
        self._finished = False
        self._between_epochs = True  # stays False where one was broken off

    def epochs(self) -> Iterator[EpochReport]:
        """Warm up, then train epoch by epoch until the last or until nothing improves.

        Goes on after the epochs that are done, of which the state loaded may have some, or all.

        Raises: DivergedError as soon as a loss is not finite, or after an epoch whose loss has
            grown beyond hope; SaturatedError after an epoch that leaves all candidates of a
            query with the same affinity.
        """
        while not self._finished and self._epochs_done < self._max_epochs:
            self._require_between_epochs()
            self._between_epochs = False
            if not self._epochs_done:
                self._run_warm_up()
            report = self._run_epoch()
            self._between_epochs = True
            yield report

    def state_dict(self) -> dict[str, Any]:
        """Everything that an epoch changes, torch's global generator included.

        Tensors, and values that JSON knows. The tensors are the training's own: the next
        epoch changes them.
        """
        self._require_between_epochs()
        best = self.best
        return {
            "epochs_done": self._epochs_done,
            "first_loss": self._first_loss,
            "finished": self._finished,
            "model": self.model.state_dict(),
            "best": best and {**vars(best), "validation": asdict(best.validation)},
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": self._average.state_dict(),
            "early_stopping": self._early_stopping.state_dict(),
            "batches": self._batches.state_dict(),
            "warm_up_batches": self._warm_up.batches.state_dict(),
            "torch_generator": torch.get_rng_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same configuration and data.

        Where it does not fit, the trainer may be left between the two, and refuses to train.
        """
        self._between_epochs = False
        self.model.load_state_dict(state["model"])
        # The keys are indices of parameters, which became strings where the state was JSON.
        moments = {int(index): own for index, own in state["optimizer"]["state"].items()}
        self._optimizer.load_state_dict({**state["optimizer"], "state": moments})
        self._schedule.load_state_dict(state["schedule"])
        self._average.load_state_dict(state["average"])
        self._early_stopping.load_state_dict(state["early_stopping"])
        self._batches.load_state_dict(state["batches"])
        self._warm_up.batches.load_state_dict(state["warm_up_batches"])
        best = state["best"]
        self.best = best and BestModel(
            best["epoch"], best["head"], Validation(**best["validation"])
        )
        self._epochs_done, self._finished = state["epochs_done"], state["finished"]
        self._first_loss = state["first_loss"]
        torch.set_rng_state(state["torch_generator"])
        self._between_epochs = True

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Go on from the weights and moments of another configuration's training, at its epoch.

        The models have the same shapes. Moments of another kind of optimizer are left; an
        average goes on where both have one. All else is this training's own: learning rates (at
        that epoch of its schedule), loss, batches, generators; what was best before, and how
        long nothing improved, is forgotten, since neither is of this configuration.
        """
        self._between_epochs = False
        self.model.load_state_dict(state["model"])
        theirs, settings = (
            one["param_groups"] for one in (state["optimizer"], self._optimizer.state_dict())
        )
        # An optimizer of another kind has other settings, and cannot read these moments.
        if theirs[0].keys() == settings[0].keys():
            moments = {int(index): own for index, own in state["optimizer"]["state"].items()}
            self._optimizer.load_state_dict({"state": moments, "param_groups": settings})
        self._average.load_state_dict(state["average"])
        self._epochs_done = state["epochs_done"]
        self._schedule.go_on_at(self._epochs_done * len(self._batches))
        self._between_epochs = True

    def _require_between_epochs(self) -> None:
        if not self._between_epochs:
            raise RuntimeError(
                "The training is within an epoch, or was broken off there: its state is neither "
                "the last epoch's nor the next one's. Assemble it anew."
            )

    def _run_epoch(self) -> EpochReport:
        train_loss = self._train_epoch()
        if self._first_loss is None:
            self._first_loss = train_loss
        require_no_explosion(self._first_loss, train_loss)
        self._average.include(self.model.head)
        with self._average.in_place(self.model.head):
            validation, improved = self._validate()
        assert self.best is not None
        stop = self._early_stopping.should_stop(validation.objective)
        self._finished = stop or self._epochs_done >= self._max_epochs
        metrics = {
            "objective": self.best.validation.objective,
            "epoch_objective": validation.objective,
            "train_loss": train_loss,
            "fusion_weight": validation.fusion_weight,
            "trained_fusion_weight": self.model.weight.item(),
            "learning_rate": float(self._optimizer.param_groups[0]["lr"]),
            **self._gradients.metrics(),
            **validation.metrics,
        }
        warning = self._gradients.warning(train_loss)
        return EpochReport(self._epochs_done, metrics, improved, self._finished, warning)

    def _validate(self) -> tuple[Validation, bool]:
        """Measure the head as it is, after one more epoch, and keep it if it is the best so far."""
        validation = self._validator(self.model.head)
        if (spread := validation.metrics[SPREAD]) < _LEAST_SPREAD:
            raise SaturatedError(f"The affinities of a query's candidates spread by {spread:.1g}.")
        self._epochs_done += 1
        self._schedule.observe(validation.objective)
        improved = self.best is None or validation.objective > self.best.validation.objective
        if improved:
            weights = copy.deepcopy(self.model.head.state_dict())
            self.best = BestModel(self._epochs_done, weights, validation)
        return validation, improved

    def _run_warm_up(self) -> None:
        parameters = [p for p in self.model.head.parameters() if p.requires_grad]
        if not parameters:
            return
        optimizer = torch.optim.Adam(parameters, lr=self._warm_up.learning_rate, fused=True)
        self.model.train()
        for step in range(self._warm_up.steps):
            texts = self._warm_up.batches.next()
            # Nothing is named: a name would hold what the step kept through the next one.
            self._update(self._warm_up_loss(texts), optimizer, f"step {step + 1} of the warm-up")

    def _warm_up_loss(self, texts: Tensor) -> Tensor:
        states = self.model.head.represent(texts)
        return self._divergence(self.model.head.compare(states, states).float(), texts)

    def _train_epoch(self) -> float:
        if not list(self.model.head.parameters()):
            return 0.0  # plain cosine has nothing to learn
        self._batches.refresh(self.model, self._epochs_done)
        self.model.train()
        self._gradients.start()
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
        loss = self._loss.compute(scores, batch.grades)
        if self._batches.remembers:
            self._batches.remember(self._loss.per_query(scores, batch.grades))
        terms = (self._warm_up.weight, self._loss.spread_weight, self._loss.simcse_weight)
        return self._with_terms(loss, batch, compared.documents) if any(terms) else loss

    def _with_terms(self, loss: Tensor, batch: Batch, represented: Tensor) -> Tensor:
        """A loss and what is asked of the batch's documents beside it, without a judgment."""
        # Drawn, since the documents of a batch stand in the order of their corpus.
        drawn = torch.randperm(len(batch.documents))[:_REGULARISED_TEXTS]
        texts, states, head = batch.documents[drawn], represented[drawn], self.model.head
        if self._warm_up.weight or self._loss.spread_weight:
            affinity = head.compare(states, states).float()
            if weight := self._warm_up.weight:
                loss = loss + weight * self._divergence(affinity, texts)
            if weight := self._loss.spread_weight:
                loss = loss + weight * spread_shortfall(affinity, self._loss.spread_target)
        if weight := self._loss.simcse_weight:
            # Represented once more, under the next dropout mask.
            affinity = head.compare(states, head.represent(texts)).float()
            loss = loss + weight * simcse_loss(affinity, self._loss.simcse_temperature)
        return loss

    def _divergence(self, affinity: Tensor, texts: Tensor) -> Tensor:
        return neighbour_divergence(affinity, texts @ texts.T, self._warm_up.temperature)

    def _update(self, loss: Tensor, optimizer: torch.optim.Optimizer, where: str) -> float:
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(f"The loss became {value} in {where}.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._gradients.clip(self._gradient_clipping)
        if not torch.isfinite(norm):
            raise DivergedError(f"The gradient's norm became {norm.item()} in {where}.")
        optimizer.step()
        return value


def require_no_explosion(first: float, now: float) -> None:
    """Raise DivergedError if an epoch's loss is far beyond the first one's.

    A first loss of nearly nothing counts as 0.1: to guess among 1,500 documents costs 7.
    """
    if now > _EXPLODED * max(first, 0.1):
        raise DivergedError(
            f"The loss grew from {first:.3g} in the first epoch to {now:.3g}, "
            f"more than {_EXPLODED:g} times."
        )
