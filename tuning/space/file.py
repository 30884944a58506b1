"""Reader of space files, which reports every mistake at once, before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

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
from quantum_rerank.paths import expanded
from quantum_rerank.yaml_source import YamlSource, load_yaml, nearest, shown
from tuning.space.header import Header
from tuning.space.mutation import mutable_keys
from tuning.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter
from tuning.space.search_space import Space, never_drawn, searchable_keys

_GRID_POINTS = 100_000  # all are listed whenever a trial is proposed
_PARAMETER: TypeAdapter[Parameter] = TypeAdapter(Annotated[Parameter, Field(discriminator="type")])
_KINDS: dict[str, type[Section]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
}
_SCALARS = ("bool", "int", "float", "str")  # how pydantic names what a choice may be
_A_SCALAR = "must be text, a finite number, true or false"


def load_space(path: Path, overrides: Mapping[str, Any] | None = None) -> Space:
    """Read and check a space file.

    Args:
        path: Space file.
        overrides: Key of the budget -> value that replaces the file's.

    Raises:
        ConfigError: All mistakes, each with file, line, value and rule.
    """
    source = load_yaml(path)
    values = dict(source.values)
    written = values.pop("parameters", None)
    parameters, problems = _read_parameters(written, source)
    if overrides and isinstance(values.get("budget"), dict):
        values["budget"] = {**values["budget"], **overrides}
    options = {f"budget.{key}": f"--{key.replace('_', '-')}" for key in overrides or {}}
    header, more = _read_header(values, source, options)
    problems += more
    base, more = _read_base(header, source) if header else (None, [])
    problems += more
    names = _names(written)
    fixed = header.fixed if header else {}
    checker = _Checker(parameters, names, base or ExperimentConfig(), source, fixed)
    problems += checker.problems()
    if header is not None and base is not None:
        problems += _bad_start_points(Space(header, base, parameters), names, source)
        problems += _bad_guesses(Space(header, base, parameters), names, source)
    if header is None or base is None or problems:
        raise ConfigError(problems)
    space = Space(header, base, parameters)
    problems = [*_endless_grid(space, source), *_nothing_to_mutate(space, source)]
    if problems:
        raise ConfigError(problems)
    return space


def _read_header(
    values: Mapping[str, Any], source: YamlSource, options: Mapping[str, str]
) -> tuple[Header | None, list[str]]:
    try:
        header = Header.model_validate(values)
    except ValidationError as error:
        return None, describe(error, Header, [source], options)
    problems = list(_unable_to_weigh(header, source))
    return header, problems or [f"{what} ({at})." for what, at in _bad_schedule(header, source)]


def _bad_schedule(header: Header, source: YamlSource) -> Iterator[tuple[str, str]]:
    """Yield each value of the scheduler that does not fit the budget, with its place."""
    scheduler, budget = header.scheduler, header.budget

    def at(key: str) -> str:
        return source.at(("scheduler", key))

    if scheduler.name in ("asha", "hyperband", "median"):
        grace, written = scheduler.grace_period, "grace_period" in scheduler.model_fields_set
        if written and grace > budget.epochs:
            rule = f"must be at most `budget.epochs`, {budget.epochs}"
            yield f"`scheduler.grace_period` is {grace}, but {rule}", at("grace_period")
    if scheduler.name != "pbt":
        return
    if scheduler.population >= budget.trials:
        rule = f"must be below `budget.trials`, {budget.trials}: clones count as trials"
        yield f"`scheduler.population` is {scheduler.population}, but {rule}", at("population")
    if scheduler.interval_epochs >= budget.epochs:
        interval = scheduler.interval_epochs
        rule = f"must be below `budget.epochs`, {budget.epochs}: no clone starts at the last epoch"
        yield f"`scheduler.interval_epochs` is {interval}, but {rule}", at("interval_epochs")
    if len(header.start_from) > scheduler.population:
        rule = f"must be at least {len(header.start_from)}: each point of `start_from` is a member"
        yield f"`scheduler.population` is {scheduler.population}, but {rule}", at("population")


def _unable_to_weigh(header: Header, source: YamlSource) -> Iterator[str]:
    """Report the settings that do not support a second objective."""
    if header.objective.cost is None:
        return
    subject = f"`objective.cost` ({source.at(('objective', 'cost'))})"
    scheduler, sampler = header.scheduler.name, header.sampler.name
    if scheduler != "none":
        yield (
            f"{subject} needs trials with all their epochs, but `scheduler.name` is "
            f"{scheduler}, which stops some. Write `scheduler: {{name: none}}`, or leave it out."
        )
    if sampler == "cmaes":
        yield (
            f"{subject} is a second objective, but `sampler.name` is cmaes, which supports one. "
            "Use tpe, gp, random, qmc or grid, or leave it out."
        )


def _read_base(header: Header, source: YamlSource) -> tuple[ExperimentConfig | None, list[str]]:
    """Return the base configuration, with the values that the space sets in every trial."""
    file = source.path.parent / expanded(header.base)
    if not file.is_file():
        reason = "is no regular file" if file.exists() else "does not exist"
        return None, [
            f"`base` names `{file}`, which {reason} ({source.at(('base',))}). "
            "The path is relative to the folder of the space file."
        ]
    nested = [_nested_sentence(key, header.fixed[key], source, "fixed") for key in header.fixed]
    if problems := [problem for problem in nested if problem]:
        return None, problems
    fixed = {f"data.{key}": value for key, value in header.data.items()} | header.fixed
    places = {f"data.{key}": source.at(("data", key)) for key in header.data}
    places |= {key: source.at(("fixed", key)) for key in header.fixed}
    taken = {"training.max_epochs": "budget.epochs", "training.objective": "objective.metric"}
    twice = [
        f"`fixed` sets `{key}`, but `{taken[key]}` does that ({places[key]})."
        for key in header.fixed
        if key in taken
    ]
    if twice:
        return None, twice
    budget = {
        "training.max_epochs": header.budget.epochs,
        "training.objective": header.objective.metric,
    }
    try:
        return load_config(file, fixed | budget, places), []
    except ConfigError as error:
        return None, list(error.problems)


def _read_parameters(written: Any, source: YamlSource) -> tuple[dict[str, Parameter], list[str]]:
    """Parse each parameter separately, so that one mistake does not hide another."""
    if not isinstance(written, dict) or not written:
        return {}, [f"`parameters` must name at least one ({source.at(('parameters',))})."]
    parameters: dict[str, Parameter] = {}
    problems: list[str] = []
    for name, value in written.items():
        place = source.at(("parameters", name))
        if nested := _nested_sentence(name, value, source, "parameters"):
            problems.append(nested)
            continue
        try:
            parameters[name] = _PARAMETER.validate_python(value)
        except ValidationError as error:
            sentences = [_parameter_sentence(name, mistake, source) for mistake in error.errors()]
            problems += dict.fromkeys(sentences)  # one for all members of a union
        else:
            problems += [f"{text} ({place})." for text in _contradictions(name, parameters[name])]
    return _with_conditions_as_drawn(parameters), problems


def _with_conditions_as_drawn(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Convert the values in conditions to the values that are drawn: 2 for 2.0."""

    def as_drawn(name: str, values: list[Any]) -> list[Any]:
        awaited = parameters.get(name)
        return [awaited.as_drawn(value) for value in values] if awaited else values

    return {
        name: parameter.model_copy(
            update={"when": {key: as_drawn(key, values) for key, values in parameter.when.items()}}
        )
        for name, parameter in parameters.items()
    }


def _nested_sentence(name: str, value: Any, source: YamlSource, block: str) -> str:
    """Return an error that names the dotted keys of a nested section; empty if there is none."""
    inner = _inner_names(name, value)
    if not inner:
        return ""
    first = inner[0]
    place = source.at((block, name))
    return (
        f"`{block}` has the nested section `{name}` ({place}), but keys in it are dotted. "
        f"Write `{first}: ...`" + (", and so on." if len(inner) > 1 else ".")
    )


def _inner_names(name: str, value: Any) -> list[str]:
    """Return the dotted keys of a section that is written as a nested mapping."""
    keys = (*config_keys(), *searchable_keys())
    is_section = any(key.startswith(f"{name}.") for key in keys)
    if not isinstance(value, Mapping) or not is_section or "type" in value:
        return []
    below = [(f"{name}.{key}", inner) for key, inner in value.items()]
    return [deeper for key, inner in below for deeper in (_inner_names(key, inner) or [key])]


def _names(written: Any) -> set[str]:
    """Return the names of all parameters in a file; keys of nested sections are dotted."""
    if not isinstance(written, Mapping):
        return set()
    return {
        inner for name, value in written.items() for inner in _inner_names(name, value) or [name]
    }


def _parameter_sentence(name: str, mistake: Any, source: YamlSource) -> str:
    location = tuple(part for part in mistake["loc"] if part not in _KINDS)
    # pydantic reports a value that is no scalar once for each type that a scalar may have.
    path: list[Any] = ["", *mistake["loc"]]
    is_scalar = path[-1] in _SCALARS and isinstance(path[-2], int)
    if is_scalar and location[-1] in _SCALARS:
        location = location[:-1]
    key = ".".join(str(part) for part in (name, *location))
    place = source.at(("parameters", name, *location))
    if is_scalar:
        return f"`{key}` is {shown(mistake['input'])}, but {_A_SCALAR} ({place})."
    if mistake["type"] == "extra_forbidden":
        kind = next(part for part in mistake["loc"] if part in _KINDS)
        hint = nearest(str(location[-1]), _KINDS[kind].model_fields)
        return f"`{key}` is not a known key ({place}). {hint}"
    if mistake["type"] == "missing":
        return f"`{key}` is missing ({place}), but is required."
    if mistake["type"] == "union_tag_not_found":
        return f"`{name}.type` is missing ({place}). Write one of float, int, categorical."
    if mistake["type"] == "list_type" and (inner := _inner_names(location[-1], mistake["input"])):
        hint = f"Keys are dotted: write `{inner[0]}: [...]`."
        return f"`{key}` is a nested section ({place}). {hint}"
    if mistake["type"] == "model_attributes_type":
        hint = "A value that never changes belongs in `fixed`."
        rule = "must have a type and a range"
        return f"`{key}` is {shown(mistake['input'])}, but {rule} ({place}). {hint}"
    if mistake["type"] == "union_tag_invalid":
        return f"`{name}.type` must be one of float, int, categorical ({place})."
    rule = mistake["msg"].replace("Input should be", "must be", 1)
    return f"`{key}` is {shown(mistake['input'])}, but {rule} ({place})."


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
    no_step = 1 if isinstance(parameter, IntParameter) else None
    if parameter.log and parameter.step != no_step:
        yield f"`{name}` has both log and step; remove one of them"


@dataclass(frozen=True)
class _Checker:
    """Checks of parameters: unknown keys, invalid conditions, and values outside of the schema.

    Attributes:
        written: Names of all parameters in the file, with those that could not be parsed.
    """

    parameters: Mapping[str, Parameter]
    written: set[str]
    base: ExperimentConfig
    source: YamlSource

    fixed: Mapping[str, Any]

    def problems(self) -> Iterator[str]:
        for name in self.fixed:
            if name in self.parameters:
                place = self.source.at(("fixed", name))
                yield f"`{name}` is both fixed and a parameter ({place}). Remove one of them."
        valid = searchable_keys()
        above: set[str] = set()
        for name, parameter in self.parameters.items():
            if name not in valid:
                yield f"`{name}` is not a known key ({self._at(name)}). {nearest(name, valid)}"
            else:
                yield from self._out_of_schema(name, parameter)
            bad_conditions = [
                problem
                for other, values in parameter.when.items()
                for problem in self._bad_condition(name, other, values, above)
            ]
            yield from bad_conditions or self._exclusive_conditions(name)
            above.add(name)

    def _at(self, name: str, *below: str) -> str:
        return self.source.at(("parameters", name, *below))

    def _bad_condition(
        self, name: str, other: str, values: list[Any], above: set[str]
    ) -> Iterator[str]:
        place = self._at(name, "when", other)
        if other not in self.written:
            hint = nearest(other, self.written)
            yield f"`{name}` depends on `{other}`, which is not a parameter ({place}). {hint}"
        elif other in self.parameters and other not in above:
            yield f"`{name}` depends on `{other}`, which must stand above it ({place})."
        elif isinstance(drawn := self.parameters.get(other), FloatParameter) and not drawn.step:
            yield (
                f"`{name}` waits for values of `{other}`, which has infinitely many ({place}). "
                f"Give `{other}` a `step`, or choices."
            )
        elif other in self.parameters:
            refused = [value for value in values if not self.parameters[other].admits(value)]
            if refused:
                yield f"`{name}` waits for {refused}, which are not values of `{other}` ({place})."

    def _exclusive_conditions(self, name: str) -> Iterator[str]:
        """Report a parameter whose conditions need two values of another parameter at once.

        Parameters that depend on such a parameter are not reported again.
        """
        conflict = never_drawn(name, self.parameters)
        if conflict is None or any(
            never_drawn(other, self.parameters) for other in self.parameters[name].when
        ):
            return
        other, by_waiter = conflict
        needs = ", and ".join(
            f"`{waiter}` needs `{other}` in {values}" for waiter, values in by_waiter.items()
        )
        yield (
            f"`{name}` is never drawn, since its conditions exclude each other "
            f"({self._at(name, 'when')}): {needs}. Change one of the conditions."
        )

    def _out_of_schema(self, name: str, parameter: Parameter) -> Iterator[str]:
        """Validate the bounds of a range, or all choices, in a real configuration."""
        conditions = {other: values[-1] for other, values in parameter.when.items()}
        owner, _, place_in_list = name.rpartition(".")
        if place_in_list.isdigit():
            length = f"{owner}.length"
            lengths = self._lengths(length, parameter)
            if not lengths:  # what they should be was said already
                return
            if min(lengths) <= int(place_in_list):
                yield (
                    f"`{name}` does not exist when `{length}` is {min(lengths)} "
                    f"({self._at(name)}). Add `when:` with the lengths that have it."
                )
                return
            conditions[length] = max(lengths)
        searchable = {key: value for key, value in conditions.items() if key in searchable_keys()}
        for value in parameter.extremes():
            try:
                override(self.base, {**searchable, name: value})
            except ConfigError as error:
                at = self._at(name)
                yield f"`{name}`: {value!r} is not a valid value ({at}): {error}"

    def _lengths(self, key: str, parameter: Parameter) -> list[int]:
        """Return the lengths that a list can have if one of its elements is drawn."""
        drawn, base_length = self.parameters.get(key), flat(self.base)[key]
        if key in parameter.when:
            lengths: list[Any] = parameter.when[key]
        elif drawn is None:
            lengths = [base_length]
        else:
            is_always_drawn = drawn.when.items() <= parameter.when.items()
            lengths = drawn.extremes() if is_always_drawn else [*drawn.extremes(), base_length]
        return [length for length in lengths if isinstance(length, int)]


def _bad_start_points(space: Space, names: set[str], source: YamlSource) -> Iterator[str]:
    """Report the mistakes in `start_from`.

    Args:
        space: Space with the parameters that could be parsed.
        names: Names of all parameters in the file.
        source: Space file.
    """
    all_read = space.parameters.keys() == names
    for index, (entry, point) in enumerate(
        zip(space.header.start_from, space.start_points(), strict=True)
    ):
        place = source.at(("start_from", index))
        for key in entry:
            if inner := _inner_names(key, entry[key]):
                hint = f"Keys are dotted: write `{inner[0]}: ...`."
                yield f"start_from: `{key}` is a nested section ({place}). {hint}"
            elif key not in names:
                hint = nearest(key, names)
                yield f"start_from: `{key}` is not a parameter ({place}). {hint}"
            elif all_read and key not in point:
                yield f"start_from: `{key}` is given, but its condition does not hold ({place})."
        outside = [k for k, v in point.items() if not space.parameters[k].admits(v)]
        for name in outside:
            yield f"start_from: `{name}` is {point[name]!r}, not a value of the space ({place})."
        if all_read and not outside:
            try:
                override(space.base, point)
            except ConfigError as error:
                yield f"start_from: the values are not valid together ({place}): {error}"


def _bad_guesses(space: Space, names: set[str], source: YamlSource) -> Iterator[str]:
    """Report the mistakes in `prior`.

    Args:
        space: Space with the parameters that could be parsed.
        names: Names of all parameters in the file.
        source: Space file.
    """
    guesses = space.header.prior
    if guesses and space.header.sampler.name != "prior":
        place, name = source.at(("prior",)), space.header.sampler.name
        yield f"prior: the sampler {name} does not read it ({place}). Set `sampler.name: prior`."
    centers = {name: guess.center for name, guess in guesses.items() if name in space.parameters}
    active = space.active({**flat(space.base), **centers})
    for name in guesses:
        place = source.at(("prior", name))
        if name not in names:
            yield f"prior: `{name}` is not a parameter ({place}). {nearest(name, names)}"
        elif name in centers and not space.parameters[name].admits(centers[name]):
            yield f"prior: `{name}` is {centers[name]!r}, not a value of the space ({place})."
        elif name in centers and name not in active:
            yield (
                f"prior: `{name}` is guessed, but its condition does not hold for the other "
                f"guesses ({place})."
            )


def _endless_grid(space: Space, source: YamlSource) -> Iterator[str]:
    if space.header.sampler.name != "grid":
        return
    # Counted without listing them: there may be more than memory holds.
    counts = {name: parameter.n_values() for name, parameter in space.parameters.items()}
    n_points = math.prod(count for count in counts.values() if count is not None)
    if n_points > _GRID_POINTS:
        place = source.at(("sampler", "name"))
        how_many = f"{n_points:,}" if n_points < 10**15 else "more than 10^15"
        yield (
            f"The grid has {how_many} points ({place}), but may have {_GRID_POINTS:,}. Give "
            "larger steps, or take `qmc`, which covers a space evenly."
        )
    for name, count in counts.items():
        if count is None:
            place = source.at(("parameters", name))
            yield f"`{name}` has infinitely many values ({place}). For a grid give it a `step`."


def _nothing_to_mutate(space: Space, source: YamlSource) -> Iterator[str]:
    if space.is_population and not mutable_keys(space):
        place = source.at(("scheduler", "name"))
        yield (
            f"The scheduler pbt has nothing to change in a clone ({place}): all parameters shape "
            "the model, or are over before its first epoch. Add one, such as `optimizer.mlp_lr`."
        )
