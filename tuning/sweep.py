"""The same space as a W&B sweep, and the program that its agents run.

    python -m tuning.sweep export --space search_spaces/default.yaml --output sweep.yaml
    wandb sweep sweep.yaml
    wandb agent ENTITY/PROJECT/SWEEP

A trial of a sweep is the same function with the same logged keys as one of a
search of ours, so that the two compare in W&B.
"""

from __future__ import annotations

import os
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
from tuning.reporting.sweep_file import sweep_yaml
from tuning.reporting.tracking import (
    describe_run,
    finish_run,
    logged_metrics,
    project,
    resolve_mode,
    start_run,
)
from tuning.reporting.wandb_environment import refuse_unusable_settings
from tuning.space.file import load_space
from tuning.study.trial_files import TrialFiles
from tuning.workers.trainable import OUT_OF_MEMORY_EXIT_CODE
from tuning.workers.training import train_within
from tuning.workers.trial_context import TrialContext

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


if __name__ == "__main__":
    run_command(app)
