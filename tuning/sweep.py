"""The same space as a W&B sweep, and the program that its agents run.

    python -m tuning.sweep export --space search_spaces/default.yaml --output sweep.yaml
    wandb sweep sweep.yaml
    wandb agent ENTITY/PROJECT/SWEEP

A trial of a sweep is the same function with the same logged keys as one of a
search of ours, so that the two compare in W&B.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Annotated, Any, Literal

import typer

from quantum_rerank.console import pasted, say
from quantum_rerank.console import run as run_command
from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import OutputError
from quantum_rerank.output_streams import write_result
from quantum_rerank.training.data_manager import prepare
from tuning.limits.failures import failure_reason, memory_excess
from tuning.records import EPOCH, OBJECTIVE, TrialEnd
from tuning.reporting.tracking import (
    describe_run,
    finish_run,
    logged_metrics,
    project,
    resolve_mode,
    start_run,
)
from tuning.reporting.wandb_environment import refuse_unusable_settings
from tuning.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Space
from tuning.space_file import load_space
from tuning.workers.trainable import OUT_OF_MEMORY_EXIT_CODE, TrialContext, train_within
from tuning.workers.trial_files import TrialFiles

_METHODS = {"tpe": "bayes", "grid": "grid"}  # of a sweep, for a sampler of ours; else random
_LISTED = 1000  # values of a stepped range that no distribution has and that are listed
# What becomes of a scheduler in a sweep, which knows one way to stop a run.
_SCHEDULERS = {
    "asha": "hyperband with the same first rung and reduction",
    "hyperband": "brackets are not kept; every run has all its epochs",
    "median": "nobody is stopped below a median; every run has all its epochs",
    "pbt": "no run goes on from another's weights; every run has all its epochs",
}

app = typer.Typer(add_completion=False)


@app.command()
def export(
    space: Annotated[Path, typer.Option(help="Search space, such as search_spaces/default.yaml.")],
    output: Annotated[
        Path | None, typer.Option(help="File to write; printed if not given.")
    ] = None,
) -> None:
    """Write a space as the equal W&B sweep, and name what a sweep cannot express."""
    text = sweep_yaml(load_space(space), space)
    if output is None:
        write_result([text])
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"`{output}` cannot be written: {error.strerror}.") from None
    say(f"Wrote {output}. Start it with `wandb sweep {pasted(output)}`.")


@app.command()
def agent(
    space: Annotated[Path, typer.Option(help="The space that the sweep was exported from.")],
    wandb: Annotated[
        Literal["auto", "online", "offline", "disabled"],
        typer.Option(help="auto: online where logged in to W&B, else offline."),
    ] = "auto",
    folder: Annotated[Path, typer.Option(help="Where W&B keeps its files.")] = Path("runs/sweep"),
) -> None:
    """Run one trial with the values that the sweep hands over (called by `wandb agent`)."""
    known = load_space(space)
    mode = resolve_mode(wandb)
    refuse_unusable_settings(mode)
    source = source_of(known.base.data)
    data = prepare(known.base.data, source).trial
    run = start_run(project(), known.header.name, None, folder, mode)
    given = {key: run.config[key] for key in known.parameters if key in run.config}
    params = known.as_drawn(known.active(given))
    unused = sorted(given.keys() - params.keys())
    if unused:
        say(f"Not used by this trial, since their conditions do not hold: {', '.join(unused)}.")
        run.config.update({"unused": unused})
    config = known.config_for(params, number=0)
    describe_run(run, config)
    last: dict[str, Any] = {}

    def report(metrics: dict[str, Any]) -> None:
        last.update(metrics)
        run.log(logged_metrics(metrics))

    memory_gb = known.header.budget.trial_memory_gb

    def fail(reason: str) -> None:
        say(reason)
        finish_run(run, TrialEnd(0, "failed", int(last.get(EPOCH, 0)), None, reason))

    def on_excess(used: int) -> None:
        telling = Thread(target=fail, args=(memory_excess(used, memory_gb),), daemon=True)
        telling.start()
        telling.join(timeout=10.0)
        os._exit(OUT_OF_MEMORY_EXIT_CODE)

    try:
        with TemporaryDirectory() as files:
            place = TrialContext(TrialFiles(files), 0)
            train_within(memory_gb, on_excess, config, data, report, place)
    except Exception as error:
        fail(failure_reason(error))
        raise
    finish_run(run, TrialEnd(0, "complete", int(last[EPOCH]), float(last[OBJECTIVE])))


def sweep_yaml(space: Space, path: Path) -> str:
    """The sweep as YAML; a comment on top names what was lost on the way."""
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
    """What a search of ours does with a space and a W&B sweep does not, a line each."""
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
    """All values: a sweep's grid would leave out the highest of a range with steps."""
    values = parameter.values()
    return {"value": values[0]} if len(values) == 1 else {"values": values}


def _distribution(parameter: Parameter) -> dict[str, Any]:
    """A parameter as a sweep draws it; W&B refuses a range whose ends are equal."""
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
    """A range with steps: quantized where its values are multiples of the step, else listed."""
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
    """A number without a fraction that is zero, as W&B's own examples are written."""
    return int(number) if number.is_integer() else number


def _on_one_line(path: Path) -> str:
    """A path in a comment: a line break in it would end the comment."""
    return str(path) if str(path).isprintable() else repr(str(path))


if __name__ == "__main__":
    run_command(app)
