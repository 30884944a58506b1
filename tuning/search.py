"""The search: `python -m tuning.search --space search_spaces/default.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from pydantic import ValidationError
from rich.console import Console

from quantum_rerank.cli.reading_options import Columns
from quantum_rerank.config import describe, override, parse_columns
from quantum_rerank.console import INTERRUPTED_EXIT_CODE, new_folder, pasted, run, say
from quantum_rerank.errors import ConfigError
from quantum_rerank.folder_lock import locked
from quantum_rerank.interruption import Interrupted, hangups_blocked
from quantum_rerank.plain_console import make_console
from tuning.conclusion.rerun import rerun as train_again
from tuning.limits.concurrency import Concurrency, Node, fit_cluster, fit_trials
from tuning.limits.failures import DIAGNOSIS
from tuning.records import HANGUP, INTERRUPT, TERMINATED
from tuning.reporting.plan import print_plan
from tuning.reporting.tracking import Mode, resolve_mode
from tuning.reporting.wandb_environment import (
    drop_settings_of_one_run,
    refuse_unusable_settings,
    where_runs_are_written,
)
from tuning.session.preflight import (
    Mistakes,
    refuse_run_at_work,
    refuse_unusable_data,
    refuse_unusable_output,
    refuse_unusable_places,
    weights_gone,
)
from tuning.session.search import search
from tuning.space import Budget, Space
from tuning.space.file import load_space
from tuning.study.named_places import remember
from tuning.study.run_folder import (
    BEST,
    BUDGET,
    LOG,
    RECORD,
    is_unbegun,
    load_study,
    name_places,
    read_record,
    recorded_space,
)
from tuning.study.storage import (
    PATIENCE_SECONDS,
    SQLITE,
    StorageConfig,
    check_root,
    check_storage,
    new_study_name,
)
from tuning.study.warm_start import EarlierRun, read_earlier
from tuning.workers.cluster import ray_cluster, this_machine
from tuning.workers.environment import refuse_unfit_environment
from tuning.workers.local_nodes import local_nodes, shares

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
    columns: Columns = None,
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
            help="Where the study is: sqlite, journal or postgresql://USER@HOST/DATABASE. For a "
            "run, only to name a database that this user has not used: the run keeps its own."
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
    3 trials failed in a row for the same reason, or none has left a model; 130 Ctrl-C;
    143 SIGTERM; 129 SIGHUP, of a terminal that was closed.
    """
    console = make_console()
    dropped = drop_settings_of_one_run()
    asked = {
        "trials": trials,
        "hours": hours,
        "core_hours": core_hours,
        "trial_memory_gb": trial_memory_gb,
    }
    changes = {key: str(value) for key, value in asked.items() if value is not None}
    starting = (("warm-start", warm_start), ("data", data), ("columns", columns))
    of_a_start = [name for name, one in starting if one]
    if of_a_start and space is None:
        raise ConfigError(f"--{of_a_start[0]} is for a search that starts: give --space with it.")
    if nodes is not None and address is not None:
        raise ConfigError("--nodes starts a cluster, --address joins one: give one of the two.")
    _name(resume or rerun, warm_start or [], storage, storage_path)
    if rerun is not None or trial is not None:
        beside: dict[str, object] = {
            "space": space,
            "output": output,
            "resume": resume,
            **asked,
            "data": data or None,
            "columns": columns,
            "warm_start": warm_start or None,
            "dry_run": dry_run or None,
            "address": address,
            "nodes": nodes,
        }
        raise typer.Exit(0 if _train_again(rerun, trial, beside, console) else 1)
    if resume is not None:
        if any(given is not None for given in (space, output)):
            raise ConfigError("--resume continues a run as it is: leave out --space and --output.")
    elif space is None:
        raise ConfigError("Give a search space with --space, or a run to continue with --resume.")
    request = _Request(
        space, data or [], columns, output, resume, warm_start or [], address, nodes, changes,
        storage, storage_path, patience, wandb, dry_run,
    )  # fmt: skip
    ready = _examined(request, console)
    if dry_run:
        print_plan(ready.space, ready.concurrency, ready.folder, console, warm_start or ())
        _print_tracking(ready, dropped, console)
        return
    folder, places, local = ready.folder, ready.places, ready.local
    if places is not None:
        new_folder(folder, but=[LOG])
        refuse_unusable_places(places, folder)
    with locked(folder), _joined(local, address) as joined:
        _print_tracking(ready, dropped, console)
        try:
            ended = search(
                ready.space, folder, console, joined, ready.mode,
                places=places, patience=patience, earlier=ready.earlier,
            )  # fmt: skip
        except Interrupted as interrupted:
            say(f"Stopped by {interrupted.name}. {_way_on(folder)}")
            raise typer.Exit(interrupted.exit_code) from None
    has_no_model = not (folder / BEST).exists()
    is_diagnosed = ended.startswith(DIAGNOSIS) or has_no_model
    code = EXIT_CODES.get(ended) or (DIAGNOSIS_EXIT_CODE if is_diagnosed else 0)
    if code:
        raise typer.Exit(code)


@dataclass(frozen=True)
class _Request:
    """Options of the command line, for a search that starts or continues."""

    space_file: Path | None
    data: list[str]
    columns: str | None
    output: Path | None
    resume: Path | None
    warm_start: list[Path]
    address: str | None
    nodes: int | None
    changes: dict[str, str]
    storage: str | None
    storage_path: str | None
    patience: float
    wandb: Literal["auto", "online", "offline", "disabled"]
    dry_run: bool


@dataclass(frozen=True)
class _Ready:
    """A search that nothing speaks against, as far as it was checked.

    places: of a new run; None for one that is continued.
    local: nodes to start on this machine; none unless asked for.
    note: what is worth a line before it starts: weights that are gone, a model to download.
    """

    space: Space
    folder: Path
    places: StorageConfig | None
    earlier: list[EarlierRun]
    concurrency: Concurrency
    local: list[Node]
    mode: Mode
    note: str


def _examined(request: _Request, console: Console) -> _Ready:
    """Check everything that a start needs; a dry run loads the data for it as well.

    Raises: ConfigError with all mistakes, or the only one as it is.
    """
    mistakes, nodes = Mistakes(), request.nodes
    mode = mistakes.attempt(lambda: _usable_mode(request.wandb))
    mistakes.attempt(lambda: refuse_unfit_environment(request.address, nodes is not None))
    found = [mistakes.attempt(partial(read_earlier, run)) for run in request.warm_start]
    space, folder, places = _continued_run(request, mistakes) or _new_run(request, mistakes)
    local = mistakes.attempt(lambda: shares(this_machine(), nodes) if nodes else []) or []
    # Known before anything is loaded, so that a hopeless budget fails at once.
    concurrency, note = None, ""
    if space is not None:
        memory_gb = space.header.budget.trial_memory_gb
        concurrency = mistakes.attempt(lambda: _fitting(memory_gb, request.address, local, console))
    if space is not None and request.resume is not None:
        note = mistakes.attempt(lambda: weights_gone(folder, space, request.patience)) or ""
    if request.dry_run:
        if places is not None:
            mistakes.attempt(lambda: refuse_unusable_places(places, folder, keep=False))
        if space is not None:
            note = mistakes.attempt(lambda: refuse_unusable_data(space, folder)) or note
    mistakes.raise_any()
    assert space and concurrency and mode  # else there was a mistake
    earlier = [run for run in found if run]
    return _Ready(space, folder, places, earlier, concurrency, local, mode, note)


def _continued_run(
    request: _Request, mistakes: Mistakes
) -> tuple[Space | None, Path, StorageConfig | None] | None:
    """The space and folder of a run that is continued; None where one starts."""
    if request.resume is None:
        return None
    folder = request.resume.resolve()
    space = mistakes.attempt(lambda: _continued(folder, request.changes, request.patience))
    if space is not None and request.dry_run:
        mistakes.attempt(lambda: refuse_run_at_work(folder))
    return space, folder, None


def _new_run(
    request: _Request, mistakes: Mistakes
) -> tuple[Space | None, Path, StorageConfig | None]:
    """The space of a new run, its folder, and where it keeps its study and its trials' files."""
    file, texts = cast(Path, request.space_file), request.changes
    given = {key: _number(key, text) for key, text in texts.items()}
    added = [f"{_option(key)} {text}" for key, text in texts.items() if text.startswith("+")]
    if added:
        raise ConfigError(f"`{added[0]}` adds to a run; name the run with --resume.")
    columns = parse_columns(request.columns) if request.columns else {}
    space = mistakes.attempt(
        lambda: _with_columns(_on_collections(load_space(file, given), request.data), columns)
    )
    name = space.header.name if space else file.stem
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = (request.output or Path("runs") / f"{name}-{stamp}").resolve()
    mistakes.attempt(lambda: refuse_unusable_output(folder))
    storage, path = request.storage or SQLITE, request.storage_path
    return space, folder, mistakes.attempt(lambda: _chosen(storage, path, name, folder))


def _usable_mode(asked: Literal["auto", "online", "offline", "disabled"]) -> Mode:
    """W&B's mode; ConfigError where it, or what W&B reads from the environment, cannot be."""
    mode = resolve_mode(asked)
    refuse_unusable_settings(mode)
    return mode


def _print_tracking(ready: _Ready, dropped: list[str], console: Console) -> None:
    """Say where W&B's runs go, and which variables of the environment are not used for them."""
    lines = [ready.note, where_runs_are_written(ready.mode, ready.folder)]
    if dropped and ready.mode != "disabled":
        lines.append(f"Not used, since every trial is a run of its own: {', '.join(dropped)}.")
    for line in filter(None, lines):
        console.print(line, soft_wrap=True)


@contextmanager
def _joined(local: list[Node], address: str | None) -> Iterator[str | None]:
    """The address of the cluster to join: one given, or one of nodes started on this machine."""
    with ExitStack() as nodes:
        if local:
            with hangups_blocked():  # a terminal that closes ends the search, not its nodes
                address = nodes.enter_context(local_nodes(local))
        yield address


def _way_on(folder: Path) -> str:
    """Say how to continue a search that was stopped."""
    if (folder / RECORD).exists():
        command = pasted("python", "-m", "tuning.search", "--resume", folder)
        return f"Go on with `{command}`."
    return "Nothing was begun: give the same command again."


def _on_collections(space: Space, specs: list[str]) -> Space:
    """The same search over other collections, none of them unseen; as it is where none is given."""
    if not specs:
        return space
    named = {"seen": specs, "unseen_validation": [], "unseen_test": []}
    header = space.header.model_copy(update={"data": space.header.data | named})
    base = override(space.base, {f"data.{key}": value for key, value in named.items()})
    return Space(header, base, space.parameters)


def _with_columns(space: Space, overrides: Mapping[str, str]) -> Space:
    """The same search with other names of a table's columns; as it is where none is given."""
    if not overrides:
        return space
    base = override(space.base, overrides)
    columns = {"columns": base.data.columns.model_dump(mode="json")}
    header = space.header.model_copy(update={"data": space.header.data | columns})
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


def _name(
    run_folder: Path | None, earlier: list[Path], storage: str | None, path: str | None
) -> None:
    """Trust the places that the command line names: of a run, or the database of earlier runs."""
    if run_folder is not None:
        name_places(run_folder, storage, path)
    elif earlier and storage is not None:
        remember(StorageConfig(check_storage(storage)), Path())


def _chosen(storage: str, path: str | None, name: str, folder: Path) -> StorageConfig:
    """Where a new run keeps its study and its trials' files, as it was asked for."""
    storage = check_storage(storage)
    study = new_study_name(storage, name, folder)
    return StorageConfig(storage, study, "" if path is None else check_root(path))


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
