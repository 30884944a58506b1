"""The search: `python -m tuning.search --space search_spaces/default.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantum_rerank.cli.reading_options import Columns
from quantum_rerank.console import run
from quantum_rerank.errors import ConfigError
from quantum_rerank.plain_console import make_console
from tuning.commands.budget_options import option_of
from tuning.commands.options import (
    Data,
    OptionalSpaceFile,
    Output,
    ResumeOptions,
    RunFolder,
    RunOptions,
    SpaceFile,
    TrustedStorage,
    TrustedStoragePath,
    WarmStart,
    with_flat_options,
)
from tuning.commands.request import SearchRequest, check_request
from tuning.study.run_folder import name_places

app = typer.Typer(add_completion=False)


@with_flat_options
def tune(
    space: SpaceFile,
    data: Data = None,
    columns: Columns = None,
    output: Output = None,
    warm_start: WarmStart = None,
    *,
    options: RunOptions,
) -> None:
    """Search for the best hybrid reranker of a space, and export it.

    Trials run in parallel on Ray, Optuna proposes them, and ASHA stops weak ones early. The
    folder of the run then holds summary.json, trials.csv, the study, wandb/ and best/, the bundle
    of the best trial. Ctrl-C ends the search and exports the best trial so far; a second Ctrl-C
    stops it at once.

    With --warm-start RUN, the sampler and the scheduler start with the trials of an earlier
    search that are comparable: the same objective, data and settings, and values within the space.
    If no trial is comparable, as on other data, the best configurations of RUN are among the first
    trials.

    Exit codes: 0 done (also when a budget ended it); 1 an external failure, such as a full
    disk; 2 a mistake in the options or files; 3 consecutive trials failed for the same reason, or
    no trial has a model; 130 Ctrl-C; 143 SIGTERM; 129 SIGHUP.

    Example:

        quantum-rerank tune --space search_spaces/default.yaml --trials 40 --hours 2
    """
    _search(
        SearchRequest(
            options,
            space_file=space,
            data=data or [],
            columns=columns,
            output=output,
            warm_start=warm_start or [],
        )
    )


@with_flat_options
def resume(run_folder: RunFolder, *, options: ResumeOptions) -> None:
    """Resume a search. Finished trials stay, interrupted trials continue from their last epoch.

    A search that has used its budget needs more: --trials +20, --hours +2 or --core-hours +4.

    Exit codes: as of `tune`.

    Example:

        quantum-rerank resume runs/default --trials +20
    """
    _search(SearchRequest(options, run_folder=run_folder))


def rerun(
    run_folder: RunFolder,
    trial: Annotated[int, typer.Option(help="Number of the trial.")],
    storage: TrustedStorage = None,
    storage_path: TrustedStoragePath = None,
) -> None:
    """Train one trial of a search again, and compare the objective of every epoch.

    Exit codes: 0 all epochs are equal; 1 an epoch differs; 2 a mistake in the options.

    Example:

        quantum-rerank rerun runs/default --trial 7
    """
    name_places(run_folder, storage, storage_path)
    from tuning.conclusion.rerun import load_rerun
    from tuning.reporting.rerun_report import print_rerun

    is_same = print_rerun(load_rerun(run_folder, trial), make_console())
    raise typer.Exit(0 if is_same else 1)


@app.command()
@with_flat_options
def main(
    space: OptionalSpaceFile = None,
    data: Data = None,
    columns: Columns = None,
    output: Output = None,
    resume_run: Annotated[
        Path | None,
        typer.Option("--resume", help="Folder of a search to resume."),
    ] = None,
    rerun_run: Annotated[
        Path | None,
        typer.Option("--rerun", help="Folder of a search, to train its --trial again."),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Number of the trial, for --rerun.")] = None,
    warm_start: WarmStart = None,
    *,
    options: RunOptions,
) -> None:
    """Search for the best hybrid reranker of a space, and export it.

    Start a search with --space FILE. Resume one with --resume RUN: finished trials stay,
    interrupted trials continue from their last epoch. A search that has used its budget needs
    --trials +20, --hours +2 or --core-hours +4. Train one trial again with --rerun RUN
    --trial NUMBER. Start with the comparable trials of an earlier search with --warm-start RUN.
    Ctrl-C ends a search and exports the best trial so far; a second Ctrl-C stops it at once.

    Exit codes: 0 done (also when a budget ended it); 1 an external failure, such as a full disk,
    or with --rerun an epoch that differs; 2 a mistake in the options or files; 3 consecutive trials
    failed for the same reason, or no trial has a model; 130 Ctrl-C; 143 SIGTERM; 129 SIGHUP.
    """
    named = [name for name, value in (locals() | vars(options)).items() if value]
    if space is None:
        _refuse_without_space(named)
    if rerun_run is not None or trial is not None:
        if rerun_run is None or trial is None:
            raise ConfigError("--rerun RUN and --trial NUMBER belong together.")
        _refuse_beside_rerun(named)
        return rerun(rerun_run, trial, options.storage, options.storage_path)
    if resume_run is None and space is None:
        raise ConfigError("Give a search space with --space, or a run to continue with --resume.")
    if resume_run is not None and (space is not None or output is not None):
        raise ConfigError("--resume continues a run as it is: leave out --space and --output.")
    return _search(
        SearchRequest(
            options,
            space_file=space,
            run_folder=resume_run,
            data=data or [],
            columns=columns,
            output=output,
            warm_start=warm_start or [],
        )
    )


def _search(request: SearchRequest) -> None:
    """Run a search. Its files are checked before torch and Ray are imported, which takes long."""
    console = make_console()
    checked = check_request(request, console)
    from tuning.commands.running import run_request

    run_request(request, checked, console)


def _refuse_without_space(names: list[str]) -> None:
    """Raise ConfigError for an option that only a new search has."""
    for name in ("warm_start", "data", "columns"):
        if name in names:
            option = option_of(name)
            raise ConfigError(f"{option} is for a search that starts: give --space with it.")


def _refuse_beside_rerun(provided: list[str]) -> None:
    """Raise ConfigError for options that the training of one trial does not take."""
    taken = ("rerun_run", "trial", "options", "storage", "storage_path", "patience", "wandb")
    names = [name.replace("resume_run", "resume") for name in provided if name not in taken]
    options = [option_of(name) for name in names]
    if options:
        raise ConfigError(f"--rerun trains one trial alone: leave out {', '.join(options)}.")


if __name__ == "__main__":
    run(app)
