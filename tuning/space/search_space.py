"""Search space: a checked space file, which makes suggestions.

    name, base, data, fixed, objective, budget, sampler, scheduler, start_from, top_k,
    confirm_seeds, parameters

A parameter's key is a dotted key of the configuration. A list is searched by
its `length` and its elements (`mlp.hidden_layers.length`, `mlp.hidden_layers.0`).
`when:` makes a parameter conditional on values of parameters above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantum_rerank.config import ExperimentConfig, config_keys, flat, override
from tuning.space.header import Header
from tuning.space.parameters import Parameter, Params, Scalar, Suggester, _is_same


@dataclass(frozen=True)
class Space:
    """Checked search space.

    Attributes:
        header: Sections of the space file beside its parameters.
        base: Configuration that every trial starts from, with data and number of epochs.
        parameters: Dotted key -> parameter, in the order of the file.
    """

    header: Header
    base: ExperimentConfig
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def suggest(self, trial: Suggester) -> Params:
        """Suggest a value for every parameter whose condition holds.

        Args:
            trial: Trial of Optuna, or a stand-in.
        """
        chosen: Params = {}
        for name, parameter in self.parameters.items():
            if _holds(parameter, chosen):
                chosen[name] = parameter.suggest(trial, name)
        return chosen

    def active(self, values: Mapping[str, Any]) -> Params:
        """Select the values of the parameters whose condition holds.

        Args:
            values: Parameter -> value.
        """
        chosen: Params = {}
        for name, parameter in self.parameters.items():
            if _holds(parameter, chosen) and name in values:
                chosen[name] = values[name]
        return chosen

    def grid(self) -> dict[str, list[Any]]:
        """Return the values of every parameter; empty for a float without a step."""
        return {name: parameter.values() for name, parameter in self.parameters.items()}

    def points(self) -> list[Params]:
        """Return every configuration of the grid once, without parameters whose condition fails."""
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
        """Return the configuration of a trial.

        Args:
            params: Parameters of the trial.
            number: Number of the trial, which is added to the seed of the base.
        """
        return override(self.base, {**params, "seed": self.base.seed + number}).resolved()

    @property
    def is_population(self) -> bool:
        """True if trials are members of a population, of which some are cloned."""
        return self.header.scheduler.name == "pbt"

    def perturbation_epochs(self) -> range:
        """Return the epochs after which members of a population are compared."""
        scheduler = self.header.scheduler
        if not self.is_population:
            return range(0)
        # The last epoch is a trial's end: nothing could continue from there.
        return range(
            scheduler.interval_epochs, self.header.budget.epochs, scheduler.interval_epochs
        )

    def start_points(self) -> list[Params]:
        """Return the parameters of the trials in `start_from`."""
        base_values = flat(self.base)
        points = [self.active({**base_values, **entry}) for entry in self.header.start_from]
        return [self.as_drawn(point) for point in points]

    def as_drawn(self, params: Params) -> Params:
        """Convert the parameters of a file to the values that a sampler draws."""
        return {name: self.parameters[name].as_drawn(value) for name, value in params.items()}


def searchable_keys() -> list[str]:
    """Return every key that a space may name, with the elements of lists.

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
    """Find the conditions that keep a parameter from ever being drawn.

    A parameter is drawn only if its conditions hold, those of the parameters in its conditions,
    and so on. Together they are lists of values for each name.

    Args:
        name: Name of the parameter.
        parameters: All parameters of the space.

    Returns:
        Name of the parameter that would need two values at once, with the values that each
        dependent parameter needs; None if the conditions can hold together.
    """
    required: dict[str, dict[str, list[Scalar]]] = {}
    waiting, seen = [name], set[str]()
    while waiting:
        waiter = waiting.pop(0)
        if waiter in seen or waiter not in parameters:
            continue
        seen.add(waiter)
        for other, values in parameters[waiter].when.items():
            required.setdefault(other, {})[waiter] = values
            waiting.append(other)
    for other, by_waiter in required.items():
        first, *rest = by_waiter.values()
        if not any(all(_is_among(value, values) for values in rest) for value in first):
            return other, by_waiter
    return None


def _is_among(value: Any, values: Sequence[Any]) -> bool:
    return any(_is_same(value, candidate) for candidate in values)


def _holds(parameter: Parameter, chosen: Mapping[str, Any]) -> bool:
    return all(
        name in chosen and any(_is_same(chosen[name], value) for value in values)
        for name, values in parameter.when.items()
    )
