"""Learning-rate schedules: the factor of a learning rate at each step of a training."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from quantum_rerank.training.checked import checked_count, checked_number

# Of the one-cycle schedule, as shares of the training and of the full rate: Smith and Topin,
# "Super-Convergence", arXiv:1708.07120, with the numbers that torch's OneCycleLR has.
_RISE, _CYCLE_START, _CYCLE_END = 0.3, 1 / 25, 1 / 25e4


class ScheduleConfig(Protocol):
    """The numbers of all schedules; `OptimizerConfig` has them."""

    @property
    def step_epochs(self) -> int: ...
    @property
    def step_factor(self) -> float: ...
    @property
    def plateau_epochs(self) -> int: ...
    @property
    def plateau_factor(self) -> float: ...


@dataclass(frozen=True)
class Steps:
    """The length of a training in optimizer steps.

    Attributes:
        per_epoch: Steps of an epoch.
        total: Steps of the whole training.
        warm_up: Steps of the linear warm-up at its start.
    """

    per_epoch: int
    total: int
    warm_up: int = 0


class RateSchedule(ABC):
    """A learning-rate schedule of one parameter group.

    Attributes:
        rises: The rate rises at the start, so that a linear warm-up is refused.
        spans_training: The factor of a step depends on the number of all steps.
    """

    rises: ClassVar[bool] = False
    spans_training: ClassVar[bool] = False

    def __init__(self, config: ScheduleConfig, steps: Steps) -> None:
        self.config = config
        self.steps = steps

    @abstractmethod
    def factor(self, step: int) -> float:
        """Return the factor of the rate at a step, counted from 0."""

    def observe(self, objective: float) -> None:  # noqa: B027
        """Take the validation objective of an epoch, the higher the better."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that observations have changed."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Continue from a `state_dict`."""


class Constant(RateSchedule):
    """The full rate at every step."""

    def factor(self, step: int) -> float:
        return 1.0


class Cosine(RateSchedule):
    """Half a cosine, from the full rate after the warm-up to 0 at the end."""

    spans_training = True

    def factor(self, step: int) -> float:
        warm_up, total = self.steps.warm_up, self.steps.total
        return _falling((step - warm_up) / max(total - warm_up, 1))


class Step(RateSchedule):
    """A fall by `step_factor` after every `step_epochs` epochs."""

    def factor(self, step: int) -> float:
        length = self.config.step_epochs * self.steps.per_epoch
        return float(self.config.step_factor ** (step // length))


class OneCycle(RateSchedule):
    """A rise to the full rate and a fall to nearly nothing."""

    rises = True
    spans_training = True

    def factor(self, step: int) -> float:
        return one_cycle(step, self.steps.total)


class Plateau(RateSchedule):
    """A fall by `plateau_factor` after every `plateau_epochs` epochs without a better objective.

    >>> from quantum_rerank.training.config import OptimizerConfig
    >>> config = OptimizerConfig(plateau_epochs=2, plateau_factor=0.5)
    >>> plateau, factors = Plateau(config, Steps(per_epoch=1, total=6)), []
    >>> for objective in (0.5, 0.5, 0.4, 0.6, 0.5, 0.5):
    ...     plateau.observe(objective)
    ...     factors.append(plateau.factor(step=0))
    >>> factors
    [1.0, 1.0, 0.5, 0.5, 0.5, 0.25]
    """

    def __init__(self, config: ScheduleConfig, steps: Steps) -> None:
        super().__init__(config, steps)
        self._factor = 1.0
        self._best = -math.inf
        self._waited = 0

    def factor(self, step: int) -> float:
        return self._factor

    def observe(self, objective: float) -> None:
        if objective > self._best:
            self._best, self._waited = objective, 0
        else:
            self._waited += 1
        if self._waited == self.config.plateau_epochs:
            self._factor, self._waited = self._factor * self.config.plateau_factor, 0

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self._factor, "best": self._best, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._factor = checked_number(state["factor"], "factor")
        self._best = checked_number(state["best"], "best")
        self._waited = checked_count(state["waited"], "waited")


def one_cycle(step: int, total: int) -> float:
    """Return the factor of a step: a rise, then a fall to nearly nothing, each half a cosine.

    >>> [round(one_cycle(step, 100), 3) for step in (0, 29, 64, 99)]
    [0.04, 1.0, 0.5, 0.0]
    """
    rise = max(_RISE * total - 1, 0.0)
    if step < rise:
        return 1.0 - (1.0 - _CYCLE_START) * _falling(step / rise)
    return _CYCLE_END + (1.0 - _CYCLE_END) * _falling((step - rise) / max(total - 1 - rise, 1))


def _falling(progress: float) -> float:
    """Return half a cosine, from 1 at the start to 0 at the end."""
    return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
