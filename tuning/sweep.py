"""The same space as a W&B sweep, and the program that its agents run.

    python -m tuning.sweep export --space search_spaces/default.yaml --output sweep.yaml
    wandb sweep sweep.yaml
    wandb agent ENTITY/PROJECT/SWEEP

A trial of a sweep is the same function with the same logged keys as one of a
search of ours, so that the two compare in W&B.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Annotated, Any, Literal

import typer

from quantum_rerank.console import run as run_command
from quantum_rerank.console import say
from quantum_rerank.embeddings import embedding_source
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
from tuning.space import CategoricalParameter, IntParameter, Parameter, Space
from tuning.space_file import load_space
from tuning.workers.trainable import OUT_OF_MEMORY_EXIT_CODE, TrialPlace, train_within
from tuning.workers.trial_files import TrialFiles

_METHODS = {"tpe": "bayes", "grid": "grid"}  # of a sweep, for a sampler of ours; else random
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
    say(f"Wrote {output}. Start it with `wandb sweep {output}`.")


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
    source = embedding_source(known.base.data.encoder)
    data = prepare(known.base.data, source).trial
    run = start_run(project(), known.header.name, None, folder, resolve_mode(wandb))
    given = {key: run.config[key] for key in known.parameters if key in run.config}
    params = known.active(given)
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
            place = TrialPlace(TrialFiles(files), 0)
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
            name: {"values": p.values()} if header.sampler.name == "grid" else _distribution(p)
            for name, p in space.parameters.items()
        },
    }
    if header.scheduler.name == "asha":
        sweep["early_terminate"] = {
            "type": "hyperband",
            "min_iter": header.scheduler.grace_epochs,
            "eta": round(header.scheduler.reduction_factor),
        }
    buffer = io.StringIO()
    buffer.write(f"# W&B sweep of {path}; a sweep cannot express:\n")
    buffer.writelines(f"#   {line}\n" for line in inexpressible(space))
    YAML().dump(sweep, buffer)
    return buffer.getvalue()


def inexpressible(space: Space) -> Iterator[str]:
    """What a search of ours does with a space and a W&B sweep does not, a line each."""
    for name, parameter in space.parameters.items():
        for other, values in parameter.when.items():
            yield f"{name} only when {other} in {values}: drawn always, and then not used"
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
    if against := space.header.objective.against:
        yield f"objective.against: a sweep has one metric, and does not weigh it against {against}"
    yield f"seeds: every trial has the seed {space.base.seed}, in a search each has its own"
    yield f"budget: {space.header.budget.hours:g} h in all are not kept; the memory of a trial is"


def _distribution(parameter: Parameter) -> dict[str, Any]:
    if isinstance(parameter, CategoricalParameter):
        return {"values": parameter.choices}
    bounds = {"min": parameter.low, "max": parameter.high}
    if isinstance(parameter, IntParameter):
        if parameter.log:
            return {"distribution": "q_log_uniform_values", **bounds, "q": 1}
        if parameter.step != 1:
            return {"values": parameter.values()}
        return {"distribution": "int_uniform", **bounds}
    if parameter.log:
        return {"distribution": "log_uniform_values", **bounds}
    if parameter.step:
        return {"values": parameter.values()}
    return {"distribution": "uniform", **bounds}


if __name__ == "__main__":
    run_command(app)
