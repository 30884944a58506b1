"""The training loop: a generator that yields a report after each epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.similarity import FusedSimilarity
from quantum_rerank.training.batch_loss import BatchLoss
from quantum_rerank.training.batches import Batch, CorpusBatches, TrainingBatches
from quantum_rerank.training.checked import checked_count, checked_number, checked_tensors
from quantum_rerank.training.early_stopping import EarlyStopping
from quantum_rerank.training.gradients import GradientWatch
from quantum_rerank.training.optimizers import make_optimizer, make_schedule, require_moments
from quantum_rerank.training.validation import SPREAD, Validation, Validator, checked_validation
from quantum_rerank.training.warm_up import WarmUp, WarmUpStore
from quantum_rerank.training.weight_average import WeightAverage

_LEAST_SPREAD = 1e-6  # of affinities in [0, 1]: some ten steps of a float32
_EXPLODED = 100.0  # times the first epoch's loss


@dataclass(frozen=True)
class EpochReport:
    """The result of an epoch.

    Attributes:
        epoch: Number of the epoch, counted from 1.
        metrics: Loss and validation metrics of this epoch, and `objective`, the best
            validation so far, the result of a training that is stopped now.
        improved: This epoch is the best so far.
        final: No epoch will follow.
        warning: A problem that does not end the training; empty if there is none.
    """

    epoch: int
    metrics: dict[str, float]
    improved: bool
    final: bool
    warning: str = ""


@dataclass(frozen=True)
class BestModel:
    """The weights of the best epoch, and the fusion weight fitted to them."""

    epoch: int
    head: dict[str, Tensor]
    validation: Validation


class Trainer:
    """The training of one model.

    Between two epochs its state can be saved, and loaded into another trainer of the
    same configuration and data, which then continues bit for bit as this one would.

    Args:
        model: The model to train.
        batches: Batches of the training queries.
        corpora: Batches of bare texts, for the warm-up.
        validator: Validation after each epoch.
        config: The sections loss, warmup, optimizer and training.
        warm_ups: Warm-ups that this training shares with others on the same data.

    Attributes:
        model: The model.
        best: The best epoch so far.
        warm_up_saved: Seconds of the warm-up that another training had done already; None if
            this one did it.
    """

    def __init__(
        self,
        model: FusedSimilarity,
        *,
        batches: TrainingBatches,
        corpora: CorpusBatches,
        validator: Validator,
        config: ExperimentConfig,
        warm_ups: WarmUpStore | None = None,
    ) -> None:
        training = config.training
        self.model = model
        self.best: BestModel | None = None
        self.warm_up_saved: float | None = None
        self._config = config
        self._loss = BatchLoss(model, config.loss, config.warmup)
        self._batches = batches
        self._corpora = corpora
        self._warm_up = WarmUp(model, corpora, self._loss, config, warm_ups)
        self._optimizer = make_optimizer(model, config.optimizer)
        self._schedule = make_schedule(
            self._optimizer, config.optimizer, len(batches), training.max_epochs
        )
        self._gradients = GradientWatch(model)
        self._average = WeightAverage(training.ema_decay)
        self._validator = validator
        self._early_stopping = EarlyStopping(training)
        self._epochs_done = 0
        self._first_loss: float | None = None
        self._finished = False
        self._between_epochs = True  # stays False if an epoch is interrupted

    def epochs(self) -> Iterator[EpochReport]:
        """Warm up, then train epoch by epoch until the last epoch or an early stop.

        A trainer whose state was loaded continues after the epochs of that state.

        Yields:
            A report after each epoch.

        Raises:
            DivergedError: A loss is not finite, or an epoch's loss has exploded.
            SaturatedError: After an epoch, all candidates of a query have the same affinity.
        """
        while not self._has_ended:
            self._require_between_epochs()
            self._between_epochs = False
            if not self._epochs_done:
                self.warm_up_saved = self._warm_up.run(self._update)
            report = self._run_epoch()
            self._between_epochs = True
            yield report

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an epoch changes, torch's global generator included.

        Returns:
            Tensors, and values that JSON can represent. The tensors are not copied: the next
            epoch changes them.

        Raises:
            RuntimeError: The training is within an epoch.
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
            "warm_up_batches": self._corpora.state_dict(),
            "torch_generator": torch.get_rng_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same configuration and data.

        A state that does not fit may be loaded in part; the trainer then refuses to train.
        """
        self._between_epochs = False
        self.model.load_state_dict(state["model"])
        # The keys are indices of parameters, which became strings where the state was JSON.
        moments = {int(index): values for index, values in state["optimizer"]["state"].items()}
        self._optimizer.load_state_dict({**state["optimizer"], "state": moments})
        require_moments(self._optimizer)
        self._schedule.load_state_dict(state["schedule"])
        self._average.load_state_dict(state["average"], self.model.head)
        self._early_stopping.load_state_dict(state["early_stopping"])
        self._batches.load_state_dict(state["batches"])
        self._corpora.load_state_dict(state["warm_up_batches"])
        self._epochs_done = checked_count(state["epochs_done"], "epochs_done")
        self._finished = bool(state["finished"])
        best, first_loss = state["best"], state["first_loss"]
        self.best = None if best is None else self._restored_best(best)
        self._first_loss = None if first_loss is None else checked_number(first_loss, "first_loss")
        if self.best is None and self._has_ended:
            raise ValueError("no epoch is left, and none was the best")
        torch.set_rng_state(state["torch_generator"])
        self._between_epochs = True

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Continue from the weights and moments of another configuration's training.

        The models have the same shapes. Moments of another kind of optimizer are ignored; an
        average continues if both trainings have one. Everything else is that of this
        configuration: learning rates (at the state's epoch of its schedule), loss, batches,
        generators. The best epoch and the patience start anew.

        Args:
            state: A `state_dict` of the other training.
        """
        self._between_epochs = False
        self.model.load_state_dict(state["model"])
        settings = self._optimizer.state_dict()["param_groups"]
        # An optimizer of another kind has other settings, and cannot read these moments.
        if state["optimizer"]["param_groups"][0].keys() == settings[0].keys():
            moments = {int(index): values for index, values in state["optimizer"]["state"].items()}
            self._optimizer.load_state_dict({"state": moments, "param_groups": settings})
            require_moments(self._optimizer)
        self._average.load_state_dict(state["average"], self.model.head)
        self._epochs_done = checked_count(state["epochs_done"], "epochs_done")
        self._schedule.set_step(self._epochs_done * len(self._batches))
        self._between_epochs = True

    @property
    def _has_ended(self) -> bool:
        return self._finished or self._epochs_done >= self._config.training.max_epochs

    def _restored_best(self, best: Mapping[str, Any]) -> BestModel:
        return BestModel(
            checked_count(best["epoch"], "best epoch", self._epochs_done),
            checked_tensors(best["head"], self.model.head.state_dict()),
            checked_validation(best["validation"]),
        )

    def _require_between_epochs(self) -> None:
        if not self._between_epochs:
            raise RuntimeError(
                "The training is within an epoch, or was interrupted there: its state belongs to "
                "no epoch. Build a new trainer."
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
        self._finished = stop or self._epochs_done >= self._config.training.max_epochs
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
        """Validate the head after an epoch, and keep its weights if they are the best so far."""
        validation = self._validator(self.model.head)
        if (spread := validation.metrics[SPREAD]) < _LEAST_SPREAD:
            raise SaturatedError(
                f"Scores collapsed: their standard deviation over the candidates is {spread:.1g}."
            )
        self._epochs_done += 1
        self._schedule.observe(validation.objective)
        improved = self.best is None or validation.objective > self.best.validation.objective
        if improved:
            weights = copy.deepcopy(self.model.head.state_dict())
            self.best = BestModel(self._epochs_done, weights, validation)
        return validation, improved

    def _train_epoch(self) -> float:
        """Train an epoch and return the mean loss of its batches."""
        if not list(self.model.head.parameters()):
            return 0.0  # plain cosine has no weights
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
        loss, scores = self._loss.of_batch(batch)
        if self._batches.remembers:
            self._batches.remember(self._loss.per_query(scores, batch))
        return loss

    def _update(self, loss: Tensor, optimizer: torch.optim.Optimizer, where: str) -> float:
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(f"The loss became {value} in {where}.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._gradients.clip(self._config.optimizer.gradient_clipping)
        if not torch.isfinite(norm):
            raise DivergedError(f"The gradient's norm became {norm.item()} in {where}.")
        optimizer.step()
        return value


def require_no_explosion(first: float, now: float) -> None:
    """Raise DivergedError if an epoch's loss is far above the loss of the first epoch.

    A first loss near 0 counts as 0.1; for comparison, guessing among 1,500 documents costs 7.
    """
    if now > _EXPLODED * max(first, 0.1):
        raise DivergedError(
            f"The loss grew from {first:.3g} in the first epoch to {now:.3g}, "
            f"more than {_EXPLODED:g} times."
        )
