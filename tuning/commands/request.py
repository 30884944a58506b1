"""Request for a search on the command line, with all its mistakes found before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

from rich.console import Console

from quantum_rerank.config import parse_columns
from quantum_rerank.errors import ConfigError
from quantum_rerank.presets import SPACES, preset_or_file
from tuning.commands.budget_options import changed_budget, option_of, parse_number
from tuning.commands.options import RunOptions, WandbChoice
from tuning.limits.concurrency import Concurrency, Node, fit_cluster, fit_trials
from tuning.reporting.tracking import Mode, resolve_mode
from tuning.reporting.wandb_environment import (
    drop_settings_of_one_run,
    refuse_settings_of_run,
    refuse_unusable_settings,
    where_runs_are_written,
)
from tuning.session.preflight import (
    Mistakes,
    refuse_run_at_work,
    refuse_unusable_output,
    refuse_unusable_places,
    weights_gone,
)
from tuning.space import Space
from tuning.space.changes import with_collections, with_columns
from tuning.space.file import load_space
from tuning.study.named_places import remember
from tuning.study.run_folder import is_tracked, name_places, read_record
from tuning.study.storage import (
    SQLITE,
    StorageConfig,
    check_root,
    check_storage,
    new_study_name,
)
from tuning.study.warm_start import EarlierRun, read_earlier
from tuning.workers.cluster import ray_cluster, this_machine
from tuning.workers.environment import refuse_unfit_environment
from tuning.workers.local_nodes import shares


@dataclass(frozen=True)
class SearchRequest:
    """Request for a search that starts or is resumed.

    Attributes:
        options: Options of both.
        space_file: Space file of a new search; None for one that is resumed.
        run_folder: Folder of a run that is resumed; None for a new search.
        data: Collections that replace those of the space.
        columns: Names of a table's columns.
        output: Folder of a new run; None for a new one below `runs/`.
        warm_start: Folders of earlier runs.
    """

    options: RunOptions
    space_file: Path | None = None
    run_folder: Path | None = None
    data: list[str] = field(default_factory=list)
    columns: str | None = None
    output: Path | None = None
    warm_start: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class CheckedSearch:
    """Search without mistakes, as far as it could be checked before it starts.

    Attributes:
        space: Space of the search.
        folder: Folder of the run.
        storage: Storage of a new run; None for one that is resumed.
        earlier: Earlier runs.
        concurrency: Trials at once.
        local_nodes: Nodes to start on this machine; empty unless requested.
        mode: W&B mode.
        notes: Sentences to print before the search starts.
    """

    space: Space
    folder: Path
    storage: StorageConfig | None
    earlier: list[EarlierRun]
    concurrency: Concurrency
    local_nodes: list[Node]
    mode: Mode
    notes: list[str]


@dataclass(frozen=True)
class _Target:
    """Space and folder of a search; the space is None where it has mistakes."""

    space: Space | None
    folder: Path
    storage: StorageConfig | None = None


def check_request(request: SearchRequest, console: Console) -> CheckedSearch:
    """Check everything that a search needs to start; a dry run loads its data as well.

    A mistake in the space or in a run's folder is reported without importing torch, Ray or W&B.

    Args:
        request: Options of the command line.
        console: Console for progress messages.

    Raises:
        ConfigError: All mistakes, or the only one as it is.
    """
    options = request.options
    if options.nodes is not None and options.address is not None:
        raise ConfigError("--nodes starts a cluster, --address joins one: give one of the two.")
    _trust_places(request)
    dropped = drop_settings_of_one_run()
    mistakes = Mistakes()
    is_divided = options.nodes is not None
    mistakes.attempt(lambda: refuse_unfit_environment(options.address, is_divided))
    earlier = [mistakes.attempt(partial(read_earlier, run)) for run in request.warm_start]
    if request.run_folder is not None:
        target = _resumed_run(options, request.run_folder.resolve(), mistakes)
    else:
        target = _new_run(request, cast(Path, request.space_file), mistakes)
    if target.space is None:
        mistakes.raise_any()
    mode = mistakes.attempt(lambda: _usable_mode(options.wandb, request.run_folder))
    local_nodes = mistakes.attempt(lambda: _local_nodes(options.nodes)) or []
    # Before anything is loaded, so that a hopeless budget fails at once.
    concurrency = _concurrency(options, target, local_nodes, mistakes, console)
    notes = _notes(request, target, mistakes)
    mistakes.raise_any()
    assert target.space and concurrency and mode  # else there was a mistake
    return CheckedSearch(
        space=target.space,
        folder=target.folder,
        storage=target.storage,
        earlier=[run for run in earlier if run],
        concurrency=concurrency,
        local_nodes=local_nodes,
        mode=mode,
        notes=[*notes, *_tracking_notes(mode, target.folder, dropped)],
    )


def _trust_places(request: SearchRequest) -> None:
    """Trust the places that the command line names: of a run, or the database of earlier runs."""
    options = request.options
    if request.run_folder is not None:
        name_places(request.run_folder, options.storage, options.storage_path)
    elif request.warm_start and options.storage is not None:
        remember(StorageConfig(check_storage(options.storage)), Path())


def _resumed_run(options: RunOptions, folder: Path, mistakes: Mistakes) -> _Target:
    space = mistakes.attempt(lambda: changed_budget(folder, options.budget, options.patience))
    if space is not None and options.dry_run:
        mistakes.attempt(lambda: refuse_run_at_work(folder))
    return _Target(space, folder)


def _new_run(request: SearchRequest, file: Path, mistakes: Mistakes) -> _Target:
    changes = request.options.budget
    numbers = {key: parse_number(key, text) for key, text in changes.items()}
    for key, text in changes.items():
        if text.startswith("+"):
            option = f"{option_of(key)} {text}"
            raise ConfigError(f"`{option}` adds to a run; name the run with --resume.")
    columns = parse_columns(request.columns) if request.columns else {}

    def changed() -> Space:
        space = load_space(preset_or_file(file, SPACES), numbers)
        return with_columns(with_collections(space, request.data), columns)

    space = mistakes.attempt(changed)
    name = space.header.name if space else file.stem
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = (request.output or Path("runs") / f"{name}-{stamp}").resolve()
    mistakes.attempt(lambda: refuse_unusable_output(folder))
    return _Target(space, folder, mistakes.attempt(lambda: _storage(request.options, name, folder)))


def _storage(options: RunOptions, name: str, folder: Path) -> StorageConfig:
    """Return the storage of a new run's study and of its trials' files."""
    storage, path = check_storage(options.storage or SQLITE), options.storage_path
    study = new_study_name(storage, name, folder)
    return StorageConfig(storage, study, "" if path is None else check_root(path))


def _usable_mode(option: WandbChoice, run_folder: Path | None) -> Mode:
    """Return W&B's mode; ConfigError where W&B refuses it or its environment."""
    if run_folder is not None and option == "auto" and not is_tracked(read_record(run_folder)):
        option = "disabled"
    if run_folder is not None and option != "disabled":
        refuse_settings_of_run(run_folder)  # before W&B reads them
    mode = resolve_mode(option)
    refuse_unusable_settings(mode)
    return mode


def _local_nodes(count: int | None) -> list[Node]:
    return shares(this_machine(), count) if count else []


def _concurrency(
    options: RunOptions,
    target: _Target,
    local_nodes: list[Node],
    mistakes: Mistakes,
    console: Console,
) -> Concurrency | None:
    if target.space is None:
        return None
    from tuning.limits.expected_memory import expected_gib

    memory_gb = target.space.header.budget.trial_memory_gb
    expected = expected_gib(target.space)

    def fit() -> Concurrency:
        if local_nodes:
            return fit_cluster(local_nodes, memory_gb, expected)
        if options.address is None:
            return fit_trials([this_machine()], memory_gb, expected)
        console.print(f"Asking the cluster at {options.address} for its nodes ...")
        with ray_cluster(options.address) as nodes:
            return fit_cluster(nodes, memory_gb, expected)

    return mistakes.attempt(fit)


def _notes(request: SearchRequest, target: _Target, mistakes: Mistakes) -> list[str]:
    """Return notes on missing weights; those of a dry run on the data and the encoder too."""
    space, folder, storage = target.space, target.folder, target.storage
    options, notes = request.options, list[str]()
    if space is not None and request.run_folder is not None:
        gone = mistakes.attempt(lambda: weights_gone(folder, space, options.patience))
        notes += [gone] if gone else []
    if options.dry_run and storage is not None:
        mistakes.attempt(lambda: refuse_unusable_places(storage, folder, keep=False))
    if options.dry_run and space is not None:
        from tuning.session.data_checks import refuse_unusable_data

        notes += mistakes.attempt(lambda: refuse_unusable_data(space, folder)) or []
    return notes


def _tracking_notes(mode: Mode, folder: Path, dropped: list[str]) -> list[str]:
    """Return notes on where W&B's runs go, and on the variables that are not used for them."""
    notes = [where_runs_are_written(mode, folder)]
    if dropped and mode != "disabled":
        notes.append(f"Not used, since every trial is a run of its own: {', '.join(dropped)}.")
    return notes
