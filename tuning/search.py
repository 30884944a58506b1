"""The search: `python -m tuning.search --space search_spaces/default.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import Console

from quantum_rerank.config import describe, override
from quantum_rerank.console import INTERRUPTED_EXIT_CODE, new_folder, run, say
from quantum_rerank.errors import ConfigError, FilesError
from quantum_rerank.folder_lock import locked
from quantum_rerank.interruption import Interrupted, hangups_blocked
from quantum_rerank.plain_console import make_console
from tuning.limits.budgets import (
    HANGUP,
    INTERRUPT,
    TERMINATED,
    Concurrency,
    Node,
    fit_cluster,
    fit_trials,
)
from tuning.limits.failures import DIAGNOSIS
from tuning.plan import print_plan
from tuning.reporting.tracking import resolve_mode
from tuning.rerun import rerun as train_again
from tuning.session import search
from tuning.space import Budget, Space
from tuning.space_file import load_space
from tuning.study.run_folder import (
    BUDGET,
    LOG,
    RECORD,
    is_unbegun,
    load_study,
    read_record,
    recorded_space,
)
from tuning.study.storage import (
    PATIENCE_SECONDS,
    SQLITE,
    Places,
    check_root,
    check_storage,
    connect,
    new_study_name,
)
from tuning.study.warm_start import read_earlier
from tuning.workers.cluster import ray_cluster, this_machine
from tuning.workers.local_nodes import local_nodes, shares
from tuning.workers.trial_files import TrialFiles

EXIT_CODES = {INTERRUPT: INTERRUPTED_EXIT_CODE, TERMINATED: 143, HANGUP: 129}
DIAGNOSIS_EXIT_CODE = 3

app = typer.Typer(add_completion=False)


@app.command()
def main(
    space: Annotated[
        Path | None, typer.Option(help="Search space, such as search_spaces/default.yaml.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="A collection to train and test on, such as csv:FILE. Repeatable. Replaces every "
            "collection of the space."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="New folder of the run; runs/NAME-TIME if not given.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a run to continue, however it ended.")
    ] = None,
    rerun: Annotated[
        Path | None, typer.Option(help="Folder of a run, of which --trial is trained again, alone.")
    ] = None,
    trial: Annotated[int | None, typer.Option(help="The trial's number, for --rerun.")] = None,
    warm_start: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Folder of an earlier run whose comparable trials come in; may be repeated.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the resolved plan and stop.")] = False,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join, or `auto`; a local one if not given.")
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, help="Start a Ray cluster of so many nodes on this machine."),
    ] = None,
    trials: Annotated[
        str | None, typer.Option(help="Replaces budget.trials; with --resume also +20: 20 more.")
    ] = None,
    hours: Annotated[
        str | None, typer.Option(help="Replaces budget.hours; with --resume also +2: 2 more.")
    ] = None,
    core_hours: Annotated[
        str | None, typer.Option(help="Replaces budget.core_hours; with --resume also +4: 4 more.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where the study is: sqlite, journal or postgresql://USER@HOST/DATABASE."
        ),
    ] = None,
    storage_path: Annotated[
        str | None,
        typer.Option(help="Empty folder or URI (s3://, gs://) for trials' files; else RUN/trials."),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for a study that is locked or away.")
    ] = PATIENCE_SECONDS,
    trial_memory_gb: Annotated[
        float | None, typer.Option(help="Replaces budget.trial_memory_gb.")
    ] = None,
    wandb: Annotated[
        Literal["auto", "online", "offline", "disabled"],
        typer.Option(help="auto: online where logged in to W&B, else offline."),
    ] = "auto",
) -> None:
    """Search for the best hybrid reranker of a space, and export it.

    Trials run in parallel on Ray, Optuna proposes them, ASHA stops weak ones early.
    The run's folder ends with summary.json, trials.csv, the study, wandb/ and best/, the
    bundle of the winner; --storage and --storage-path put the study and the trials' files
    elsewhere. Ctrl-C once ends in order and exports the best so far; twice stops now. A
    search that ended for whatever reason goes on with --resume: finished trials stay,
    interrupted ones continue from their last epoch; add --trials +20, --hours +2 or
    --core-hours +4 to one that had used its budget.

    With --warm-start RUN the sampler and the scheduler know from the start what earlier
    searches found, as far as it is comparable: the same objective, data and settings, and
    values that the space holds. What was left out is counted with its reason. Where nothing
    compares, such as on other data, RUN's best configurations are among the first trials.

    Exit codes: 0 done (also when a budget ended it); 1 something outside failed, such as
    the disk, or with --rerun an epoch came out otherwise; 2 a mistake in what was given;
    3 trials failed in a row for the same reason; 130 Ctrl-C; 143 SIGTERM;
    129 SIGHUP, of a terminal that was closed.
    """
    console = make_console()
    asked = {
        "trials": trials,
        "hours": hours,
        "core_hours": core_hours,
        "trial_memory_gb": trial_memory_gb,
    }
    changes = {key: str(value) for key, value in asked.items() if value is not None}
    of_a_start = [name for name, one in (("warm-start", warm_start), ("data", data)) if one]
    if of_a_start and space is None:
        raise ConfigError(f"--{of_a_start[0]} is for a search that starts: give --space with it.")
    if nodes is not None and address is not None:
        raise ConfigError("--nodes starts a cluster, --address joins one: give one of the two.")
    if rerun is not None or trial is not None:
        beside: dict[str, object] = {
            "space": space,
            "output": output,
            "resume": resume,
            **asked,
            "data": data or None,
            "warm_start": warm_start or None,
            "storage": storage,
            "storage_path": storage_path,
            "dry_run": dry_run or None,
            "address": address,
            "nodes": nodes,
        }
        raise typer.Exit(0 if _train_again(rerun, trial, beside, console) else 1)
    earlier = [read_earlier(run) for run in warm_start or ()]
    if resume is not None:
        if any(given is not None for given in (space, output, storage, storage_path)):
            raise ConfigError(
                "--resume continues a run as it is: leave out --space and --output, --storage and "
                "--storage-path."
            )
        folder, places = resume.resolve(), None
        known = _continued(folder, changes, patience)
    elif space is None:
        raise ConfigError("Give a search space with --space, or a run to continue with --resume.")
    else:
        given = {key: _number(key, value) for key, value in changes.items()}
        added = [f"{_option(key)} {text}" for key, text in changes.items() if text.startswith("+")]
        if added:
            raise ConfigError(f"`{added[0]}` adds to a run; name the run with --resume.")
        known = _on_collections(load_space(space, given), data or [])
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = (output or Path("runs") / f"{known.header.name}-{stamp}").resolve()
        places = _chosen(storage or SQLITE, storage_path, known, folder)
    local = shares(this_machine(), nodes) if nodes else []
    # Known before anything is loaded, so that a hopeless budget fails at once.
    concurrency = _fitting(known.header.budget.trial_memory_gb, address, local, console)
    if dry_run:
        print_plan(known, concurrency, folder, console, warm_start or ())
        return
    if places is not None:
        new_folder(folder, but=[LOG])
        _refuse_unreachable(places, folder)
    with locked(folder), _joined(local, address) as joined:
        mode = resolve_mode(wandb)
        try:
            ended = search(
                known, folder, console, joined, mode,
                places=places, patience=patience, earlier=earlier,
            )  # fmt: skip
        except Interrupted as interrupted:
            say(f"Stopped by {interrupted.name}. {_way_on(folder)}")
            raise typer.Exit(interrupted.exit_code) from None
    code = DIAGNOSIS_EXIT_CODE if ended.startswith(DIAGNOSIS) else EXIT_CODES.get(ended, 0)
    if code:
        raise typer.Exit(code)


@contextmanager
def _joined(local: list[Node], address: str | None) -> Iterator[str | None]:
    """The address of the cluster to join: one given, or one of nodes started on this machine."""
    with ExitStack() as nodes:
        if local:
            with hangups_blocked():  # a terminal that closes ends the search, not its nodes
                address = nodes.enter_context(local_nodes(local))
        yield address


def _way_on(folder: Path) -> str:
    """How a search that was stopped goes on, as far as it has come."""
    if (folder / RECORD).exists():
        return f"Go on with `python -m tuning.search --resume {folder}`."
    return "Nothing was begun: give the same command again."


def _on_collections(space: Space, specs: list[str]) -> Space:
    """The same search over other collections, none of them unseen; as it is where none is given."""
    if not specs:
        return space
    named = {"seen": specs, "unseen_validation": [], "unseen_test": []}
    header = space.header.model_copy(update={"data": space.header.data | named})
    base = override(space.base, {f"data.{key}": value for key, value in named.items()})
    return Space(header, base, space.parameters)


def _train_again(
    folder: Path | None, number: int | None, beside: Mapping[str, object], console: Console
) -> bool:
    """Train one trial again, unless something else is asked for as well; whether it is the same."""
    if folder is None or number is None:
        raise ConfigError("--rerun RUN and --trial NUMBER belong together.")
    if others := [_option(name) for name, value in beside.items() if value is not None]:
        raise ConfigError(f"--rerun trains one trial alone: leave out {', '.join(others)}.")
    return train_again(folder, number, console)


def _chosen(storage: str, path: str | None, space: Space, folder: Path) -> Places:
    """Where a new run keeps its study and its trials' files, as it was asked for."""
    storage = check_storage(storage)
    study = new_study_name(storage, space.header.name, folder)
    return Places(storage, study, "" if path is None else check_root(path))


def _refuse_unreachable(places: Places, folder: Path) -> None:
    """Raise at once where nothing answers or can be written to: trials would only find out later.

    Raises: OutputError for a database, ConfigError for a root of files.
    """
    if not places.file:
        connect(folder, places)
    if places.trials:
        try:
            TrialFiles(places.trials).refuse_unusable()
        except FilesError as error:
            raise ConfigError(str(error)) from None


def _fitting(
    memory_gb: float, address: str | None, local: list[Node], console: Console
) -> Concurrency:
    """The trials that fit where a search is going to run; a cluster that is joined is asked."""
    if address is None:
        return fit_cluster(local, memory_gb) if local else fit_trials([this_machine()], memory_gb)
    console.print(f"Asking the cluster at {address} for its nodes ...")
    with ray_cluster(address) as found:
        return fit_cluster(found, memory_gb)


def _continued(folder: Path, changes: dict[str, str], patience: float) -> Space:
    """The space of a run, with its budget as it was last, and what was asked to change."""
    space = recorded_space(read_record(folder))
    known = {} if is_unbegun(folder) else load_study(folder, patience).user_attrs.get(BUDGET, {})
    budget = space.header.budget.model_dump() | known
    for key, text in changes.items():
        more = budget[key] if text.startswith("+") else 0
        if more is None:
            raise ConfigError(
                f"`{_option(key)} {text}` adds to a budget of `{folder}`, which has none: give the "
                "whole, without `+`."
            )
        budget[key] = more + _number(key, text)
    try:
        header = space.header.model_copy(update={"budget": Budget.model_validate(budget)})
    except ValidationError as error:
        given = {key: f"{_option(key)} {text}" for key, text in changes.items()}
        raise ConfigError(describe(error, Budget, [], given)) from None
    return Space(header, space.base, space.parameters)


def _option(key: str) -> str:
    """What sets a value on the command line."""
    return f"--{key.replace('_', '-')}"


def _number(key: str, text: str) -> float:
    try:
        return int(text) if key == "trials" else float(text)
    except ValueError:
        kind = "a whole number" if key == "trials" else "a number"
        raise ConfigError(f"`{_option(key)} {text}` is not {kind}.") from None


if __name__ == "__main__":
    run(app)
