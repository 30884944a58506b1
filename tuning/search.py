"""The search: `python -m tuning.search --space search_spaces/default.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantum_rerank.cli.reading_options import Columns
from quantum_rerank.console import run
from quantum_rerank.errors import ConfigError
from quantum_rerank.plain_console import make_console
from tuning.commands.budget_options import budget_changes, option_of
from tuning.commands.options import (
    Address,
    CoreHours,
    Data,
    DryRun,
    Hours,
    Nodes,
    Output,
    Patience,
    RunFolder,
    Storage,
    StoragePath,
    TrialMemory,
    Trials,
    TrustedStorage,
    TrustedStoragePath,
    Wandb,
    WarmStart,
)
from tuning.commands.request import SearchRequest
from tuning.commands.running import run_request
from tuning.conclusion.rerun import load_rerun
from tuning.reporting.rerun_report import print_rerun
from tuning.study.run_folder import name_places
from tuning.study.storage import PATIENCE_SECONDS

app = typer.Typer(add_completion=False)


def tune(
    space: Annotated[Path, typer.Option(help="Search space, such as search_spaces/default.yaml.")],
    data: Data = None,
    columns: Columns = None,
    output: Output = None,
    warm_start: WarmStart = None,
    dry_run: DryRun = False,
    address: Address = None,
    nodes: Nodes = None,
    trials: Trials = None,
    hours: Hours = None,
    core_hours: CoreHours = None,
    trial_memory_gb: TrialMemory = None,
    storage: Storage = None,
    storage_path: StoragePath = None,
    patience: Patience = PATIENCE_SECONDS,
    wandb: Wandb = "auto",
) -> None:
    """Search for the best hybrid reranker of a space, and export it.

    Trials run in parallel on Ray, Optuna proposes them, and ASHA stops weak ones early. The
    folder of the run ends with summary.json, trials.csv, the study, wandb/ and best/, the bundle
    of the winner. Ctrl-C once ends the search in order and exports the best so far; twice stops
    it now.

    With --warm-start RUN sampler and scheduler start with the comparable trials of earlier
    searches: the same objective, data and settings, and values that the space holds. Where
    no trial is comparable, such as on other data, the best configurations of RUN are among the
    first trials.

    Exit codes: 0 done (also when a budget ended it); 1 an external failure, such as a full
    disk; 2 a mistake in the options or files; 3 trials failed in a row for the same reason, or
    none has left a model; 130 Ctrl-C; 143 SIGTERM; 129 SIGHUP.

    Example:

        quantum-rerank tune --space search_spaces/default.yaml --trials 40 --hours 2
    """
    changes = budget_changes(
        trials=trials, hours=hours, core_hours=core_hours, trial_memory_gb=trial_memory_gb
    )
    run_request(
        SearchRequest(
            space_file=space,
            data=data or [],
            columns=columns,
            output=output,
            warm_start=warm_start or [],
            address=address,
            nodes=nodes,
            changes=changes,
            storage=storage,
            storage_path=storage_path,
            patience=patience,
            wandb=wandb,
            dry_run=dry_run,
        )
    )


def resume(
    run_folder: RunFolder,
    dry_run: DryRun = False,
    address: Address = None,
    nodes: Nodes = None,
    trials: Trials = None,
    hours: Hours = None,
    core_hours: CoreHours = None,
    trial_memory_gb: TrialMemory = None,
    storage: TrustedStorage = None,
    storage_path: TrustedStoragePath = None,
    patience: Patience = PATIENCE_SECONDS,
    wandb: Wandb = "auto",
) -> None:
    """Resume a search, however it ended: finished trials stay, interrupted ones continue.

    Add to the budget of a search that has used it: --trials +20, --hours +2, --core-hours +4.

    Exit codes: as of `tune`.

    Example:

        quantum-rerank resume runs/default --trials +20
    """
    changes = budget_changes(
        trials=trials, hours=hours, core_hours=core_hours, trial_memory_gb=trial_memory_gb
    )
    run_request(
        SearchRequest(
            run_folder=run_folder,
            address=address,
            nodes=nodes,
            changes=changes,
            storage=storage,
            storage_path=storage_path,
            patience=patience,
            wandb=wandb,
            dry_run=dry_run,
        )
    )


def rerun(
    run_folder: RunFolder,
    trial: Annotated[int, typer.Option(help="Number of the trial.")],
    storage: TrustedStorage = None,
    storage_path: TrustedStoragePath = None,
) -> None:
    """Train one trial of a run again, and compare every epoch with the run's.

    Exit codes: 0 every epoch is the same; 1 an epoch differs; 2 a mistake in the options.

    Example:

        quantum-rerank rerun runs/default --trial 7
    """
    name_places(run_folder, storage, storage_path)
    is_same = print_rerun(load_rerun(run_folder, trial), make_console())
    raise typer.Exit(0 if is_same else 1)


@app.command()
def main(
    space: Annotated[
        Path | None, typer.Option(help="Search space, such as search_spaces/default.yaml.")
    ] = None,
    data: Data = None,
    columns: Columns = None,
    output: Output = None,
    resume_run: Annotated[
        Path | None,
        typer.Option("--resume", help="Folder of a run to continue, however it ended."),
    ] = None,
    rerun_run: Annotated[
        Path | None,
        typer.Option("--rerun", help="Folder of a run whose --trial is trained again, alone."),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Number of the trial, for --rerun.")] = None,
    warm_start: WarmStart = None,
    dry_run: DryRun = False,
    address: Address = None,
    nodes: Nodes = None,
    trials: Trials = None,
    hours: Hours = None,
    core_hours: CoreHours = None,
    trial_memory_gb: TrialMemory = None,
    storage: Storage = None,
    storage_path: StoragePath = None,
    patience: Patience = PATIENCE_SECONDS,
    wandb: Wandb = "auto",
) -> None:
    """Search for the best hybrid reranker of a space, and export it.

    Start a search with --space FILE. Resume one with --resume RUN, however it ended: finished
    trials stay, interrupted ones continue from their last epoch; add --trials +20, --hours +2 or
    --core-hours +4 to one that has used its budget. Train one trial of a run again with
    --rerun RUN --trial NUMBER. Take over comparable trials of an earlier run with
    --warm-start RUN. Ctrl-C once ends a search in order and exports the best so far; twice
    stops it now.

    Exit codes: 0 done (also when a budget ended it); 1 an external failure, such as a full disk,
    or with --rerun an epoch that differs; 2 a mistake in the options or files; 3 trials failed in
    a row for the same reason, or none has left a model; 130 Ctrl-C; 143 SIGTERM; 129 SIGHUP.
    """
    named = [name for name, value in locals().items() if value]
    if space is None:
        _refuse_without_space(named)
    if rerun_run is not None or trial is not None:
        if rerun_run is None or trial is None:
            raise ConfigError("--rerun RUN and --trial NUMBER belong together.")
        _refuse_beside_rerun(named)
        return rerun(rerun_run, trial, storage, storage_path)
    budget = (trials, hours, core_hours, trial_memory_gb)
    run_options = (dry_run, address, nodes, *budget, storage, storage_path, patience, wandb)
    if resume_run is not None:
        if space is not None or output is not None:
            raise ConfigError("--resume continues a run as it is: leave out --space and --output.")
        return resume(resume_run, *run_options)
    if space is None:
        raise ConfigError("Give a search space with --space, or a run to continue with --resume.")
    return tune(space, data, columns, output, warm_start, *run_options)


def _refuse_without_space(names: list[str]) -> None:
    """Raise ConfigError for an option that only a new search has."""
    for name in ("warm_start", "data", "columns"):
        if name in names:
            option = option_of(name)
            raise ConfigError(f"{option} is for a search that starts: give --space with it.")


def _refuse_beside_rerun(provided: list[str]) -> None:
    """Raise ConfigError for options that the training of one trial does not take."""
    taken = ("rerun_run", "trial", "storage", "storage_path", "patience", "wandb")
    names = [name.replace("resume_run", "resume") for name in provided if name not in taken]
    options = [option_of(name) for name in names]
    if options:
        raise ConfigError(f"--rerun trains one trial alone: leave out {', '.join(options)}.")


if __name__ == "__main__":
    run(app)
