"""A search space: YAML in, checked against the schema of a run, suggestions out.

    name, base, data, fixed, objective, budget, sampler, scheduler, start_from, top_k, parameters

A parameter's key is a dotted key of the configuration. A list is searched by
its `length` and its elements (`mlp.hidden_layers.length`, `mlp.hidden_layers.0`).
`when:` makes a parameter conditional on values of parameters above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from quantum_rerank.config import (
    ExperimentConfig,
    Section,
    config_keys,
    describe,
    flat,
    load_config,
    override,
)
from quantum_rerank.errors import ConfigError
from quantum_rerank.yaml_source import YamlSource, load_yaml, nearest

Scalar = bool | int | float | str
Params = dict[str, Any]


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
    when: dict[str, list[Scalar]] = Field(default_factory=dict)


class FloatParameter(_Parameter):
    """A real number between two bounds, both included."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: Suggester, name: str) -> float:
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def admits(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def extremes(self) -> list[Any]:
        return [self.low, self.high]


class IntParameter(_Parameter):
    """A whole number between two bounds, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = 1

    def suggest(self, trial: Suggester, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def admits(self, value: Any) -> bool:
        in_bounds = isinstance(value, int) and self.low <= value <= self.high
        return in_bounds and (value - self.low) % self.step == 0

    def extremes(self) -> list[Any]:
        return [self.low, self.high]


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


Parameter = FloatParameter | IntParameter | CategoricalParameter
_PARAMETER: TypeAdapter[Parameter] = TypeAdapter(Annotated[Parameter, Field(discriminator="type")])


class Objective(Section):
    """What is maximised: the validation score of a trial's best epoch."""

    metric: Literal["ndcg@10", "mrr@10", "map"] = "ndcg@10"
    mode: Literal["max"] = "max"


class Budget(Section):
    """What a search may cost."""

    trials: int = Field(ge=1)
    epochs: int = Field(ge=1, description="of each trial, at most")
    hours: float = Field(24.0, gt=0.0, description="of the whole search")
    trial_memory_gb: float = Field(8.0, gt=0.0, description="resident memory of each trial")


class SamplerConfig(Section):
    """Who proposes the next trial."""

    name: Literal["tpe", "random"] = "tpe"
    seed: int = Field(0, ge=0)
    startup_trials: int = Field(8, ge=0, description="drawn at random before TPE takes over")


class SchedulerConfig(Section):
    """Who stops weak trials, and when at the earliest."""

    name: Literal["asha", "none"] = "asha"
    grace_epochs: int = Field(3, ge=1)
    reduction_factor: float = Field(3.0, gt=1.0)


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
    top_k: int = Field(3, ge=1, description="trials that are scored on the test split")


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

    def config_for(self, params: Mapping[str, Any], number: int) -> ExperimentConfig:
        """The configuration of a trial; its seed follows from the search's and its number."""
        return override(self.base, {**params, "seed": self.base.seed + number})

    def start_points(self) -> list[Params]:
        """The trials of `start_from`: the base's own values, and what an entry changes."""
        return [self._point(entry) for entry in self.header.start_from]

    def _point(self, entry: Mapping[str, Any]) -> Params:
        return self.active({**flat(self.base), **entry})


def load_space(path: Path, overrides: Mapping[str, Any] | None = None) -> Space:
    """Read and check a space file; `overrides` replace values of its budget.

    Raises: ConfigError with every mistake found, each with file, line, value and rule.
    """
    source = load_yaml(path)
    values = dict(source.values)
    parameters, problems = _read_parameters(values.pop("parameters", None), source)
    if overrides and isinstance(values.get("budget"), dict):
        values["budget"] = {**values["budget"], **overrides}
    header: Header | None = None
    try:
        header = Header.model_validate(values)
    except ValidationError as error:
        problems += describe(error, Header, [source])
    base: ExperimentConfig | None = None
    if header:
        try:
            base = _base(header, path)
        except ConfigError as error:
            place = source.at(("base",))
            problems += [
                f"{text} Set by `base`, `data` or `fixed` ({place})." for text in error.problems
            ]
    problems += _misplaced(parameters, source, base or ExperimentConfig())
    if header is None or base is None or problems:
        raise ConfigError(problems)
    space = Space(header, base, parameters)
    problems = list(_bad_start_points(space, source))
    if problems:
        raise ConfigError(problems)
    return space


def _base(header: Header, path: Path) -> ExperimentConfig:
    fixed = {f"data.{key}": value for key, value in header.data.items()} | header.fixed
    fixed["training.max_epochs"] = header.budget.epochs
    fixed["training.objective"] = header.objective.metric
    return load_config(path.parent / header.base, fixed)


def _read_parameters(written: Any, source: YamlSource) -> tuple[dict[str, Parameter], list[str]]:
    """Parse each parameter by itself, so that one mistake does not hide another."""
    if not isinstance(written, dict) or not written:
        return {}, [f"`parameters` must name at least one ({source.at(('parameters',))})."]
    parameters: dict[str, Parameter] = {}
    problems: list[str] = []
    for name, value in written.items():
        place = source.at(("parameters", name))
        try:
            parameters[name] = _PARAMETER.validate_python(value)
        except ValidationError as error:
            problems += [_parameter_sentence(name, found, source) for found in error.errors()]
        else:
            problems += [f"{text} ({place})." for text in _contradictions(name, parameters[name])]
    return parameters, problems


def _parameter_sentence(name: str, found: Any, source: YamlSource) -> str:
    kinds = ("float", "int", "categorical")
    location = tuple(part for part in found["loc"] if part not in kinds)
    key = ".".join(str(part) for part in (name, *location))
    place = source.at(("parameters", name, *location))
    if found["type"] == "extra_forbidden":
        kind = next(part for part in found["loc"] if part in kinds)
        model: dict[str, type[Section]] = {
            "float": FloatParameter,
            "int": IntParameter,
            "categorical": CategoricalParameter,
        }
        hint = nearest(str(location[-1]), model[kind].model_fields)
        return f"`{key}` is not a known key ({place}). {hint}"
    if found["type"] == "missing":
        return f"`{key}` is missing ({place}), but is required."
    if found["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"`{name}.type` must be one of float, int, categorical ({place})."
    return f"`{key}` is {found['input']!r}: {found['msg']} ({place})."


def _contradictions(name: str, parameter: Parameter) -> Iterator[str]:
    if isinstance(parameter, CategoricalParameter):
        if not parameter.choices:
            yield f"`{name}` has empty choices, but needs at least one"
        return
    low, high = parameter.low, parameter.high
    if low > high:
        yield f"`{name}` has low {low} above high {high}; exchange them"
    if parameter.log and low <= 0:
        yield f"`{name}` has log: true with low {low}, but a logarithm needs low above 0"
    if parameter.step is not None and parameter.step <= 0:
        yield f"`{name}` has step {parameter.step}, but it must be above 0"
    if parameter.log and parameter.step not in (None, 1):
        yield f"`{name}` has both log and step; take one of them"


def _misplaced(
    parameters: Mapping[str, Parameter], source: YamlSource, base: ExperimentConfig
) -> Iterator[str]:
    """Unknown keys, conditions that point nowhere, and ranges that leave the schema."""
    valid = searchable_keys()
    above: list[str] = []
    for name, parameter in parameters.items():
        place = source.at(("parameters", name))
        if name not in valid:
            yield f"`{name}` is not a known key ({place}). {nearest(name, valid)}"
        else:
            yield from _out_of_schema(name, parameter, parameters, base, source)
        for other, values in parameter.when.items():
            where = source.at(("parameters", name, "when", other))
            if other not in parameters:
                hint = nearest(other, parameters)
                yield f"`{name}` depends on `{other}`, which is not a parameter ({where}). {hint}"
            elif other not in above:
                yield f"`{name}` depends on `{other}`, which must stand above it ({where})."
            else:
                refused = [value for value in values if not parameters[other].admits(value)]
                if refused:
                    yield f"`{name}` waits for {refused} of `{other}`, which never comes ({where})."
        above.append(name)


def _out_of_schema(
    name: str,
    parameter: Parameter,
    parameters: Mapping[str, Parameter],
    base: ExperimentConfig,
    source: YamlSource,
) -> Iterator[str]:
    """Try the ends of a range, or every choice, in a real configuration."""
    conditions = {
        other: values[-1] for other, values in parameter.when.items() if other in parameters
    }
    for value in parameter.extremes():
        try:
            override(base, {**conditions, name: value})
        except ConfigError as error:
            place = source.at(("parameters", name))
            yield f"`{name}` may become {value!r}, which no run takes ({place}): {error}"


def _bad_start_points(space: Space, source: YamlSource) -> Iterator[str]:
    for index, entry in enumerate(space.header.start_from):
        place = source.at(("start_from", index))
        unknown = [key for key in entry if key not in space.parameters]
        for key in unknown:
            hint = nearest(key, space.parameters)
            yield f"start_from: `{key}` is not a parameter ({place}). {hint}"
        if unknown:
            continue
        for name, value in space._point(entry).items():
            if not space.parameters[name].admits(value):
                yield f"start_from: `{name}` is {value!r}, which the space does not hold ({place})."


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


def _holds(parameter: Parameter, chosen: Mapping[str, Any]) -> bool:
    return all(name in chosen and chosen[name] in values for name, values in parameter.when.items())
