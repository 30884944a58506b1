"""A search space: what is searched, on what, within which budget; suggestions out.

    name, base, data, fixed, objective, budget, sampler, scheduler, start_from, top_k,
    confirm_seeds, parameters

A parameter's key is a dotted key of the configuration. A list is searched by
its `length` and its elements (`mlp.hidden_layers.length`, `mlp.hidden_layers.0`).
`when:` makes a parameter conditional on values of parameters above it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from quantum_rerank.config import ExperimentConfig, Section, config_keys, flat, override

Scalar = bool | int | float | str
Params = dict[str, Any]
_CLOSE = 1e-9  # between two floats that are meant to be the same
_CLOSE_SHARE = 1e-12  # of a quotient of two floats: what their roundings may change
Factor = Annotated[float, Field(gt=0.0)]


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
    when: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = Field(default_factory=dict)

    def as_drawn(self, value: Any) -> Any:
        """A value that was written down, to the last digit as a sampler draws it."""
        return value


class FloatParameter(_Parameter):
    """A real number between two bounds, both included."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(None, gt=0)

    def suggest(self, trial: Suggester, name: str) -> float:
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def admits(self, value: Any) -> bool:
        if not _is_number(value) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return bool(abs(steps - round(steps)) < _CLOSE)

    def as_drawn(self, value: Any) -> Any:
        """See `_Parameter`: what a file writes as 0.3 may be 0.1 + 2 * 0.1."""
        if not self.step or not self.admits(value):
            return value
        return self._at(round((value - self.low) / self.step), self.step)

    def extremes(self) -> list[Any]:
        return [self.low, self.high]

    def n_values(self) -> int | None:
        """Count the values without listing them; None where there is no `step`."""
        if self.step is None:
            return None
        # As fractions: a quotient of floats may be infinite, and has no floor then.
        n_steps = (Fraction(self.high) - Fraction(self.low)) / Fraction(self.step)
        return math.floor(n_steps + max(Fraction(_CLOSE), n_steps * Fraction(_CLOSE_SHARE))) + 1

    def values(self) -> list[Any]:
        """All values that it takes; none that could be listed without a `step`."""
        if self.step is None:
            return []
        return [self._at(index, self.step) for index in range(self.n_values() or 0)]

    def _at(self, index: int, step: float) -> float:
        return min(self.low + step * index, self.high)


class IntParameter(_Parameter):
    """A whole number between two bounds, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(1, gt=0)

    def suggest(self, trial: Suggester, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def admits(self, value: Any) -> bool:
        in_bounds = _is_whole(value) and self.low <= value <= self.high
        return in_bounds and (value - self.low) % self.step == 0

    def as_drawn(self, value: Any) -> Any:
        """See `_Parameter`: a file may write 2 as 2.0."""
        return int(value) if _is_whole(value) else value

    def extremes(self) -> list[Any]:
        return [self.low, self.high]

    def n_values(self) -> int:
        """Count the values without listing them."""
        return max((self.high - self.low) // self.step + 1, 0)

    def values(self) -> list[Any]:
        return list(range(self.low, self.high + 1, self.step))


class CategoricalParameter(_Parameter):
    """One of some values."""

    type: Literal["categorical"]
    choices: list[Scalar]

    def suggest(self, trial: Suggester, name: str) -> Any:
        return trial.suggest_categorical(name, self.choices)

    def admits(self, value: Any) -> bool:
        return value in self.choices

    def extremes(self) -> list[Any]:
        return list(self.choices)

    def n_values(self) -> int:
        """Count the choices."""
        return len(self.choices)

    def values(self) -> list[Any]:
        return list(self.choices)


Parameter = FloatParameter | IntParameter | CategoricalParameter


class Objective(Section):
    """What is maximised: the validation score of a trial's best epoch."""

    metric: Literal["ndcg@10", "mrr@10", "map"] = "ndcg@10"
    mode: Literal["max"] = "max"
    cost: Literal["parameters", "latency"] | None = Field(
        None, description="a cost that is minimised beside it: see `tuning.workers.cost`"
    )

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """As Optuna names them: of the score, and of the cost where there is one."""
        return ["maximize", "minimize"] if self.cost else ["maximize"]


class Budget(Section):
    """What a search may cost."""

    trials: int = Field(ge=1)
    epochs: int = Field(ge=1, description="of each trial, at most")
    hours: float = Field(24.0, gt=0.0, description="of the whole search")
    trial_memory_gb: float = Field(8.0, gt=0.0, description="memory of each trial")
    trial_hours: float | None = Field(None, gt=0.0, description="of each trial")
    epoch_minutes: float | None = Field(None, gt=0.0, description="of each epoch: ends what hangs")
    core_hours: float | None = Field(None, gt=0.0, description="of all trials together")
    retries: int = Field(3, ge=0, description="of a trial whose worker was lost")
    failures_in_a_row: int = Field(5, ge=1, description="for the same reason, then the search ends")


class SamplerConfig(Section):
    """Who proposes the next trial."""

    name: Literal["tpe", "gp", "cmaes", "random", "grid", "qmc"] = "tpe"
    seed: int = Field(0, ge=0)
    startup_trials: int = Field(8, ge=0, description="drawn at random before TPE takes over")


class SchedulerConfig(Section):
    """Who stops weak trials, and when at the earliest."""

    name: Literal["asha", "hyperband", "median", "pbt", "none"] = "asha"
    grace_period: int = Field(3, ge=1)
    reduction_factor: float = Field(3.0, gt=1.0)
    brackets: int = Field(3, ge=1, description="of hyperband")
    population: int = Field(8, ge=2, description="of pbt: members at work, clones in their places")
    interval_epochs: int = Field(3, ge=1, description="of pbt: between two comparisons")
    quantile: float = Field(0.25, gt=0.0, le=0.5, description="of pbt: who gives way, to whom")
    resample_probability: float = Field(0.25, ge=0.0, le=1.0, description="of pbt: or else moved")
    factors: tuple[Factor, ...] = Field((0.8, 1.2), min_length=1, description="of pbt: moved by")


class Header(Section):
    """All of a space file but its parameters."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    base: str
    data: dict[str, Any] = Field(default_factory=dict)
    fixed: dict[str, Any] = Field(
        default_factory=dict, description="dotted keys that differ from the base in every trial"
    )
    objective: Objective = Objective()
    budget: Budget
    sampler: SamplerConfig = SamplerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    start_from: list[dict[str, Any]] = Field(default_factory=list)
    top_k: int = Field(3, ge=1, description="trials that are confirmed, then scored on test")
    confirm_seeds: int = Field(5, ge=0, description="fresh seeds on which each of them is trained")


@dataclass(frozen=True)
class Space:
    """A checked search space.

    base: the configuration that every trial starts from, data and epochs included.
    parameters: dotted key -> parameter, in the order of the file.
    """

    header: Header
    base: ExperimentConfig
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def suggest(self, trial: Suggester) -> Params:
        """Ask for a value of every parameter whose condition holds."""
        chosen: Params = {}
        for name, parameter in self.parameters.items():
            if _holds(parameter, chosen):
                chosen[name] = parameter.suggest(trial, name)
        return chosen

    def active(self, values: Mapping[str, Any]) -> Params:
        """Of values given for all parameters, those whose condition holds."""
        chosen: Params = {}
        for name, parameter in self.parameters.items():
            if _holds(parameter, chosen) and name in values:
                chosen[name] = values[name]
        return chosen

    def grid(self) -> dict[str, list[Any]]:
        """Every value of every parameter; none of one that could not be tried in full."""
        return {name: parameter.values() for name, parameter in self.parameters.items()}

    def points(self) -> list[Params]:
        """Every configuration of the grid once, with the parameters whose condition holds."""
        points: list[Params] = [{}]
        for name, values in self.grid().items():
            parameter = self.parameters[name]
            points = [
                {**point, **more}
                for point in points
                for more in ([{name: v} for v in values] if _holds(parameter, point) else [{}])
            ]
        return points

    def config_for(self, params: Mapping[str, Any], number: int) -> ExperimentConfig:
        """The configuration of a trial; its seed follows from the search's and its number."""
        return override(self.base, {**params, "seed": self.base.seed + number}).resolved()

    @property
    def is_population(self) -> bool:
        """Whether trials are members of a population, of which some are cloned."""
        return self.header.scheduler.name == "pbt"

    def perturbation_epochs(self) -> range:
        """The epochs at which the members of a population are compared; none without one."""
        scheduler = self.header.scheduler
        if not self.is_population:
            return range(0)
        # The last epoch is a trial's end: nothing could go on from there.
        return range(
            scheduler.interval_epochs, self.header.budget.epochs, scheduler.interval_epochs
        )

    def start_points(self) -> list[Params]:
        """The trials of `start_from`: the base's own values, and what an entry changes."""
        known = flat(self.base)
        points = [self.active({**known, **entry}) for entry in self.header.start_from]
        return [self.as_drawn(point) for point in points]

    def as_drawn(self, params: Params) -> Params:
        """Parameters that were written down, to the last digit as a sampler draws them."""
        return {name: self.parameters[name].as_drawn(value) for name, value in params.items()}


def searchable_keys() -> list[str]:
    """Every key that a space may name, with the places of lists written out.

    >>> [key for key in searchable_keys() if key.startswith("mlp.hidden_layers")][:3]
    ['mlp.hidden_layers.length', 'mlp.hidden_layers.0', 'mlp.hidden_layers.1']
    """
    fixed = ("data.", "seed", "training.max_epochs", "training.objective")
    keys: list[str] = []
    for key in config_keys():
        if key.startswith(fixed):
            continue
        is_list = key == "mlp.hidden_layers"
        places = ["length", *(str(place) for place in range(6))]
        keys += [f"{key}.{place}" for place in places] if is_list else [key]
    return keys


def never_drawn(
    name: str, parameters: Mapping[str, Parameter]
) -> tuple[str, dict[str, list[Scalar]]] | None:
    """Find the parameter whose values keep another from ever being drawn.

    A parameter is drawn only where its conditions hold, and those of every parameter that it
    waits for, and so on. All of them together are a list of values for each name.

    Args:
        name: The parameter that may never be drawn.
        parameters: All of the space, each below those that it waits for.

    Returns:
        The name of the parameter that would need two values at once, and who asks it for which
        values. None if the conditions can hold together.
    """
    asked: dict[str, dict[str, list[Scalar]]] = {}
    waiting, seen = [name], set[str]()
    while waiting:
        waiter = waiting.pop(0)
        if waiter in seen or waiter not in parameters:
            continue
        seen.add(waiter)
        for other, values in parameters[waiter].when.items():
            asked.setdefault(other, {})[waiter] = values
            waiting.append(other)
    for other, by_waiter in asked.items():
        first, *rest = by_waiter.values()
        if not any(all(_is_among(value, values) for values in rest) for value in first):
            return other, by_waiter
    return None


def _is_among(value: Any, values: Sequence[Any]) -> bool:
    return any(_is_same(value, candidate) for candidate in values)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _holds(parameter: Parameter, chosen: Mapping[str, Any]) -> bool:
    return all(
        name in chosen and any(_is_same(chosen[name], value) for value in values)
        for name, values in parameter.when.items()
    )


def _is_same(drawn: Any, value: Any) -> bool:
    """Whether a parameter has a value, which steps of a float come to in roundings only."""
    if isinstance(drawn, float) and isinstance(value, (int, float)):
        return math.isclose(drawn, value, rel_tol=_CLOSE, abs_tol=1e-12)
    return bool(drawn == value)
