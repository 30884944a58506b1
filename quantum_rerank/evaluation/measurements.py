"""Measurements of a training, from which its targets are computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelAndCosine:
    """NDCG@10 of a model at its fusion weight, and of the cosine, on the same queries."""

    model: float
    cosine: float

    @property
    def ratio(self) -> float | None:
        """The model's score divided by the cosine's, or None if the cosine's is 0."""
        return self.model / self.cosine if self.cosine > 0.0 else None


@dataclass(frozen=True)
class TrainingSummary:
    """Epochs, time and memory of one training.

    Attributes:
        best_epoch: The epoch of the exported weights, or None if it is not recorded.
        objectives: Per epoch, the best validation objective so far. Empty if not recorded.
        seconds: Duration of the training, or None if it is not recorded.
        peak_memory_gb: Largest resident memory of the training's process in GB (10**9 bytes),
            or None if it is not recorded.
        patience: Epochs without improvement after which early stopping ends the training.
        min_improvement: The smallest rise of the objective that early stopping counts.
        is_closed_form: True for a model that is computed, not trained in epochs.
    """

    best_epoch: int | None = None
    objectives: tuple[float, ...] = ()
    seconds: float | None = None
    peak_memory_gb: float | None = None
    patience: int = 10
    min_improvement: float = 0.001
    is_closed_form: bool = False


@dataclass(frozen=True)
class SeedGains:
    """Validation objectives of one configuration with several seeds, each minus the cosine's."""

    gains: tuple[float, ...] = ()
