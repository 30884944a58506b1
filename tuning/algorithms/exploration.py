"""Parameters of a clone: those of its donor, some of them changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from tuning.space import Params, SchedulerConfig, Space
from tuning.space.mutation import mutable_keys

Value = TypeVar("Value", int, float)


def explored(
    space: Space, donor: Mapping[str, Any], scheduler: SchedulerConfig, rng: np.random.Generator
) -> Params:
    """Return the parameters of a donor with the mutable ones drawn again or changed a little.

    A number is multiplied by one of the scheduler's factors, within its bounds; a choice becomes a
    neighbouring one. A parameter that the donor did not have, since its condition did not hold, is
    drawn (Jaderberg et al., "Population Based Training", arXiv:1711.09846, section 4.1).

    Args:
        space: Space of the search.
        donor: Parameters of the donor.
        scheduler: Settings of population based training.
        rng: Source of randomness.
    """
    return space.suggest(_Explorer(donor, set(mutable_keys(space)), scheduler, rng))


class _Explorer:
    """Suggester of values near those of a donor."""

    def __init__(
        self,
        donor: Mapping[str, Any],
        mutable: set[str],
        scheduler: SchedulerConfig,
        rng: np.random.Generator,
    ) -> None:
        self._donor, self._mutable = donor, mutable
        self._resample = scheduler.resample_probability
        self._factors, self._rng = scheduler.factors, rng

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if step is not None:
            n_steps = math.floor((high - low) / step + 1e-9)
            return min(low + step * self._step(name, low, step, n_steps), high)
        if self._is_copied(name):
            return float(self._donor[name])
        if not self._is_drawn(name):
            return min(max(float(self._donor[name]) * self._factor(), low), high)
        if log:
            drawn = math.exp(self._rng.uniform(math.log(low), math.log(high)))
            return min(max(drawn, low), high)
        return float(self._rng.uniform(low, high))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        n_steps = (high - low) // step
        if not log or self._is_copied(name):
            return low + step * self._step(name, low, step, n_steps)
        if not self._is_drawn(name):
            return low + self._moved(name, low, step, n_steps)
        drawn = math.exp(self._rng.uniform(math.log(low), math.log(high + 1)))
        return min(int(drawn), high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if self._is_copied(name):
            return self._donor[name]
        if self._is_drawn(name):
            return choices[int(self._rng.integers(len(choices)))]
        beside = list(choices).index(self._donor[name]) + int(self._rng.choice((-1, 1)))
        return choices[min(max(beside, 0), len(choices) - 1)]

    def _step(self, name: str, low: float, step: float, n_steps: int) -> int:
        """Return the index of the next value among low, low + step, ..."""
        if self._is_copied(name):
            return round((float(self._donor[name]) - low) / step)
        if self._is_drawn(name):
            return int(self._rng.integers(n_steps + 1))
        return self._moved(name, low, step, n_steps)

    def _moved(self, name: str, low: float, step: float, n_steps: int) -> int:
        """Return the index of the donor's value multiplied by a factor."""
        value = float(self._donor[name])
        place, factor = round((value - low) / step), self._factor()
        moved = round((value * factor - low) / step)
        if moved == place:  # too small a number for its factor: a step at least
            moved += 1 if factor > 1.0 else -1
        return min(max(moved, 0), n_steps)

    def _is_copied(self, name: str) -> bool:
        return name in self._donor and name not in self._mutable

    def _is_drawn(self, name: str) -> bool:
        return name not in self._donor or float(self._rng.random()) < self._resample

    def _factor(self) -> float:
        return float(self._rng.choice(self._factors))
