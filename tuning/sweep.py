"""W&B sweeps: a search space as a sweep, and the program that its agents run.

    python -m tuning.sweep export --space search_spaces/default.yaml --output sweep.yaml
    wandb sweep sweep.yaml
    wandb agent ENTITY/PROJECT/SWEEP

A trial of a sweep logs the same keys as a trial of a search, so that the two compare in W&B.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Annotated, Any

import typer

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.console import run as run_command
from quantum_rerank.console import say
from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import OutputError
from quantum_rerank.output_streams import write_result
from quantum_rerank.plain_text import pasted
from quantum_rerank.presets import SPACES, preset_or_file
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.trial_data import TrialData
from tuning.commands.options import SpaceFile, Wandb
from tuning.limits.failures import failure_of, memory_excess
from tuning.limits.memory_watchdog import OUT_OF_MEMORY_EXIT_CODE
from tuning.records import EPOCH, OBJECTIVE, Failure, TrialEnd, TrialMetadata, TrialOutcome
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
from tuning.space import Space
from tuning.space.file import load_space
from tuning.study.trial_files import TrialFiles
from tuning.workers.training import TrialTask, train_within
from tuning.workers.trial_context import TrialContext

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.callback()
def sweep() -> None:
    """Run a search space as a W&B sweep.

    W&B proposes the trials, and an agent on each machine trains them.

    Example:

        quantum-rerank sweep export --space search_spaces/default.yaml \\
            --output sweep.yaml

        wandb sweep sweep.yaml

        wandb agent ENTITY/PROJECT/SWEEP
    """


@app.command()
def export(
    space: SpaceFile,
    output: Annotated[
        Path | None, typer.Option(help="File to write. Default: standard output.")
    ] = None,
) -> None:
    """Write a search space as a W&B sweep, and name the settings that a sweep does not support."""
    space = preset_or_file(space, SPACES)
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
    space: Annotated[Path, typer.Option(help="Space that the sweep was exported from.")],
    wandb: Wandb = "auto",
    folder: Annotated[Path, typer.Option(help="Folder for the files of W&B.")] = Path("runs/sweep"),
) -> None:
    """Run one trial with the values of the sweep (called by `wandb agent`)."""
    searched = load_space(preset_or_file(space, SPACES))
    mode = resolve_mode(wandb)
    refuse_unusable_settings(mode)
    data = prepare(searched.base.data, source_of(searched.base.data)).trial
    run = start_run(project(), searched.header.name, None, folder, mode)
    config = _config(run, searched)
    describe_run(run, config)
    _SweepTrial(run, searched.header.budget.trial_memory_gb).train(config, data)


def _config(run: Any, space: Space) -> ExperimentConfig:
    """Return the configuration of a W&B run, without values whose conditions do not hold."""
    values = {key: run.config[key] for key in space.parameters if key in run.config}
    params = space.as_drawn(space.active(values))
    unused = sorted(values.keys() - params.keys())
    if unused:
        say(f"Not used by this trial, since their conditions do not hold: {', '.join(unused)}.")
        run.config.update({"unused": unused})
    return space.config_for(params, number=0)


class _SweepTrial:
    """Trial of a sweep, which reports to its W&B run."""

    def __init__(self, run: Any, memory_gb: float) -> None:
        self._run, self._memory_gb = run, memory_gb
        self._last: dict[str, Any] = {}

    def train(self, config: ExperimentConfig, data: TrialData) -> None:
        """Train, and write the end of the trial into the run."""
        try:
            # A trial that is killed at its memory may still write while the folder is removed.
            with TemporaryDirectory(ignore_cleanup_errors=True) as files:
                context = TrialContext(TrialFiles(files), TrialMetadata(number=0))
                task = TrialTask(config, data, context)
                train_within(self._memory_gb, self._on_excess, task, self._report)
        except Exception as error:
            self._fail(failure_of(error))
            raise
        epoch, objective = int(self._last[EPOCH]), float(self._last[OBJECTIVE])
        finish_run(self._run, TrialEnd(0, TrialOutcome.COMPLETE, epoch, objective))

    def _report(self, metrics: dict[str, Any]) -> None:
        self._last.update(metrics)
        self._run.log(logged_metrics(metrics))

    def _fail(self, failure: Failure) -> None:
        say(str(failure))
        epoch = int(self._last.get(EPOCH, 0))
        finish_run(self._run, TrialEnd(0, TrialOutcome.FAILED, epoch, None, failure))

    def _on_excess(self, used: int) -> None:
        failure = memory_excess(used, self._memory_gb)
        writing = Thread(target=self._fail, args=(failure,), daemon=True)
        writing.start()
        writing.join(timeout=10.0)
        os._exit(OUT_OF_MEMORY_EXIT_CODE)


if __name__ == "__main__":
    run_command(app)
