"""Parameters of a search space: their ranges, and the values that they admit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from quantum_rerank.config import Section

Scalar = bool | int | float | str
Params = dict[str, Any]
_CLOSE = 1e-9  # between two floats that are meant to be the same
_CLOSE_SHARE = 1e-12  # of a quotient of two floats: what their roundings may change


class Suggester(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...
    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


class _Parameter(Section):
    when: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="condition: other parameter -> its values for which this parameter is drawn",
    )

    def as_drawn(self, value: Any) -> Any:
        """Return a value of a file to the last digit as a sampler draws it."""
        return value


class FloatParameter(_Parameter):
    """A real number between two bounds, both included."""

    type: Literal["float"] = Field(description="type of the parameter")
    low: float = Field(description="lower bound, included")
    high: float = Field(description="upper bound, included")
    log: bool = Field(False, description="draw on a logarithmic scale")
    step: float | None = Field(None, gt=0, description="distance between two values")

    def suggest(self, trial: Suggester, name: str) -> float:
        """Suggest a value of a trial."""
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def admits(self, value: Any) -> bool:
        """Return whether the parameter can have a value."""
        if not _is_number(value) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return bool(abs(steps - round(steps)) < _CLOSE)

    def as_drawn(self, value: Any) -> Any:
        """See `_Parameter`: 0.3 in a file may be 0.1 + 2 * 0.1."""
        if not self.step or not self.admits(value):
            return value
        return self._at(round((value - self.low) / self.step), self.step)

    def extremes(self) -> list[Any]:
        """Return the values that are validated against the schema."""
        return [self.low, self.high]

    def n_values(self) -> int | None:
        """Count the values without listing them; None without a `step`."""
        if self.step is None:
            return None
        # As fractions: a quotient of floats may be infinite, and has no floor then.
        n_steps = (Fraction(self.high) - Fraction(self.low)) / Fraction(self.step)
        return math.floor(n_steps + max(Fraction(_CLOSE), n_steps * Fraction(_CLOSE_SHARE))) + 1

    def values(self) -> list[Any]:
        """List the values; empty without a `step`."""
        if self.step is None:
            return []
        return [self._at(index, self.step) for index in range(self.n_values() or 0)]

    def _at(self, index: int, step: float) -> float:
        return min(self.low + step * index, self.high)


class IntParameter(_Parameter):
    """A whole number between two bounds, both included."""

    type: Literal["int"] = Field(description="type of the parameter")
    low: int = Field(description="lower bound, included")
    high: int = Field(description="upper bound, included")
    log: bool = Field(False, description="draw on a logarithmic scale")
    step: int = Field(1, gt=0, description="distance between two values")

    def suggest(self, trial: Suggester, name: str) -> int:
        """See `FloatParameter.suggest`."""
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def admits(self, value: Any) -> bool:
        """See `FloatParameter.admits`."""
        in_bounds = _is_whole(value) and self.low <= value <= self.high
        return in_bounds and (value - self.low) % self.step == 0

    def as_drawn(self, value: Any) -> Any:
        """See `_Parameter`: a file may write 2 as 2.0."""
        return int(value) if _is_whole(value) else value

    def extremes(self) -> list[Any]:
        """See `FloatParameter.extremes`."""
        return [self.low, self.high]

    def n_values(self) -> int:
        """Count the values without listing them."""
        return max((self.high - self.low) // self.step + 1, 0)

    def values(self) -> list[Any]:
        """List the values."""
        return list(range(self.low, self.high + 1, self.step))


class CategoricalParameter(_Parameter):
    """One of some values."""

    type: Literal["categorical"] = Field(description="type of the parameter")
    choices: list[Scalar] = Field(max_length=1000, description="values to choose from")

    def suggest(self, trial: Suggester, name: str) -> Any:
        """See `FloatParameter.suggest`."""
        return trial.suggest_categorical(name, self.choices)

    def admits(self, value: Any) -> bool:
        """See `FloatParameter.admits`."""
        return value in self.choices

    def extremes(self) -> list[Any]:
        """See `FloatParameter.extremes`."""
        return list(self.choices)

    def n_values(self) -> int:
        """Count the choices."""
        return len(self.choices)

    def values(self) -> list[Any]:
        """List the choices."""
        return list(self.choices)


Parameter = FloatParameter | IntParameter | CategoricalParameter


def _is_number(value: Any) -> bool:
    """Return whether a value is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _is_same(drawn: Any, value: Any) -> bool:
    """Return whether a parameter has a value, up to the rounding of a float's steps."""
    if isinstance(drawn, float) and isinstance(value, (int, float)):
        return math.isclose(drawn, value, rel_tol=_CLOSE, abs_tol=1e-12)
    return bool(drawn == value)
