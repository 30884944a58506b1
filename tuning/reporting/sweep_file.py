"""Conversion of a search space to a W&B sweep."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuning.records import OBJECTIVE
from tuning.reporting.tracking import project
from tuning.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Space

_METHODS = {"tpe": "bayes", "grid": "grid"}  # of a sweep, for a sampler of ours; else random


_LISTED = 1000  # values of a stepped range that no distribution has and that are listed


# What becomes of a scheduler in a sweep, which knows one way to stop a run.
_SCHEDULERS = {
    "asha": "hyperband with the same first rung and reduction",
    "hyperband": "brackets are not kept; every run has all its epochs",
    "median": "no run is stopped below the median; every run trains all its epochs",
    "pbt": "no run continues from another's weights; every run trains all its epochs",
}


def sweep_yaml(space: Space, path: Path) -> str:
    """Return the sweep as YAML, with a comment on the settings that a sweep does not support.

    Args:
        space: Search space.
        path: File of the space, which the agents read.
    """
    from ruamel.yaml import YAML

    header = space.header
    sweep: dict[str, Any] = {
        "name": header.name,
        "project": project(),
        "method": _METHODS.get(header.sampler.name, "random"),
        "metric": {"name": OBJECTIVE, "goal": "maximize"},
        "run_cap": header.budget.trials,
        "command": ["${env}", "python", "-m", "tuning.sweep", "agent", "--space", str(path)],
        "parameters": {
            name: _grid_values(p) if header.sampler.name == "grid" else _distribution(p)
            for name, p in space.parameters.items()
        },
    }
    if header.scheduler.name == "asha":
        sweep["early_terminate"] = {
            "type": "hyperband",
            "min_iter": header.scheduler.grace_period,
            "eta": _plain(header.scheduler.reduction_factor),
        }
    buffer = io.StringIO()
    buffer.write(f"# W&B sweep of {_on_one_line(path)}; a sweep cannot express:\n")
    buffer.writelines(f"#   {line}\n" for line in inexpressible(space))
    yaml = YAML()
    yaml.version = (1, 1)  # as `wandb sweep` reads it: 1e-05 and off would be a text and false
    yaml.dump(sweep, buffer)
    return buffer.getvalue()


def inexpressible(space: Space) -> Iterator[str]:
    """Yield a line for each part of a space that a W&B sweep does not support."""
    for name, parameter in space.parameters.items():
        for other, values in parameter.when.items():
            yield f"{name} only when {other} in {values}: drawn always, and then not used"
    if space.header.sampler.name != "grid":
        yield from _inexact_ranges(space)
    if space.header.start_from:
        yield f"start_from: its {len(space.header.start_from)} configurations are not tried first"
    if space.header.sampler.name == "tpe":
        yield "sampler tpe: bayes is the nearest that a sweep has"
    elif space.header.sampler.name == "grid":
        yield "sampler grid: points that differ only in what a condition excludes are tried as well"
    elif space.header.sampler.name != "random":
        yield f"sampler {space.header.sampler.name}: every run is drawn at random"
    if space.header.scheduler.name in _SCHEDULERS:
        yield f"scheduler {space.header.scheduler.name}: {_SCHEDULERS[space.header.scheduler.name]}"
    if against := space.header.objective.cost:
        yield f"objective.cost: a sweep has one metric, and does not weigh it against {against}"
    yield f"seeds: every trial has the seed {space.base.seed}, in a search each has its own"
    yield f"budget: {space.header.budget.hours:g} h in all are not kept; the memory of a trial is"


def _inexact_ranges(space: Space) -> Iterator[str]:
    """Describe how a sweep's distributions differ from stepped ranges."""
    for name, parameter in space.parameters.items():
        written = _distribution(parameter)
        if written.get("distribution") == "q_uniform":
            yield f"{name}: its lowest and its highest value are drawn half as often as the others"
        elif not isinstance(parameter, CategoricalParameter) and _has_lost_steps(parameter):
            yield f"{name}: steps of {parameter.step} from {parameter.low} are not kept"


def _grid_values(parameter: Parameter) -> dict[str, Any]:
    """Return all values: W&B's own grid would leave out the highest of a range with steps."""
    values = parameter.values()
    return {"value": values[0]} if len(values) == 1 else {"values": values}


def _distribution(parameter: Parameter) -> dict[str, Any]:
    """Return the distribution of a sweep; W&B refuses a range with equal bounds."""
    if isinstance(parameter, CategoricalParameter):
        return {"values": parameter.choices}
    if parameter.n_values() == 1 or parameter.low == parameter.high:
        return {"value": parameter.low}
    bounds = {"min": parameter.low, "max": parameter.high}
    if isinstance(parameter, IntParameter) and parameter.log:
        return {"distribution": "q_log_uniform_values", **bounds, "q": 1}
    if parameter.log:
        return {"distribution": "log_uniform_values", **bounds}
    if _is_stepped(parameter) and not _has_lost_steps(parameter):
        return _stepped(parameter)
    is_int = isinstance(parameter, IntParameter)
    return {"distribution": "int_uniform" if is_int else "uniform", **bounds}


def _stepped(parameter: FloatParameter | IntParameter) -> dict[str, Any]:
    """Return a range with steps: quantised if its values are multiples of the step, else listed."""
    if not _are_multiples(parameter):
        return {"values": parameter.values()}
    n_steps, step = (parameter.n_values() or 1) - 1, parameter.step
    assert step is not None
    highest = min(parameter.low + n_steps * step, parameter.high)
    return {"distribution": "q_uniform", "min": parameter.low, "max": highest, "q": step}


def _is_stepped(parameter: FloatParameter | IntParameter) -> bool:
    no_step = 1 if isinstance(parameter, IntParameter) else None
    return parameter.step != no_step


def _are_multiples(parameter: FloatParameter | IntParameter) -> bool:
    """Return whether all values are multiples of the step, as in W&B's quantized ranges."""
    quotient = parameter.low / (parameter.step or 1)
    return math.isclose(quotient, round(quotient), rel_tol=1e-9, abs_tol=1e-9)


def _has_lost_steps(parameter: FloatParameter | IntParameter) -> bool:
    """Return whether a stepped range is neither quantized nor short enough to be listed."""
    is_long = (parameter.n_values() or 0) > _LISTED
    return _is_stepped(parameter) and is_long and not _are_multiples(parameter)


def _plain(number: float) -> int | float:
    """Return a number without a fraction of zero."""
    return int(number) if number.is_integer() else number


def _on_one_line(path: Path) -> str:
    """Return a path for a comment, which a line break would end."""
    return str(path) if str(path).isprintable() else repr(str(path))
