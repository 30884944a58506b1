"""Options of the search's commands, each written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tuning.commands.budget_options import budget_changes
from tuning.study.storage import PATIENCE_SECONDS

WandbChoice = Literal["auto", "online", "offline", "disabled"]

_SPACE = typer.Option(help="Search space, such as search_spaces/default.yaml.")
SpaceFile = Annotated[Path, _SPACE]
OptionalSpaceFile = Annotated[Path | None, _SPACE]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a search.")]
Data = Annotated[
    list[str] | None,
    typer.Option(
        help="Collection to train and test on, such as csv:FILE. Repeatable. Replaces every "
        "collection of the space."
    ),
]
Output = Annotated[
    Path | None, typer.Option(help="New folder of the run; runs/NAME-TIME if not given.")
]
WarmStart = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="RUN",
        help="Folder of an earlier run whose comparable trials are taken over. Repeatable.",
    ),
]
DryRun = Annotated[bool, typer.Option(help="Print the resolved plan and stop.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to join, or `auto`; a local one if not given.")
]
Nodes = Annotated[
    int | None, typer.Option(min=1, help="Start a Ray cluster of so many nodes on this machine.")
]
Trials = Annotated[
    str | None, typer.Option(help="Replaces budget.trials; for a run also +20: 20 more.")
]
Hours = Annotated[
    str | None, typer.Option(help="Replaces budget.hours; for a run also +2: 2 more.")
]
CoreHours = Annotated[
    str | None, typer.Option(help="Replaces budget.core_hours; for a run also +4: 4 more.")
]
TrialMemory = Annotated[
    float | None,
    typer.Option("--trial-memory-gb", help="Replaces budget.trial_memory_gb, in GiB."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="Storage of the study: sqlite, journal or postgresql://USER@HOST/DATABASE. For a "
        "run, only to name a database that this user has not used: the run keeps its own."
    ),
]
StoragePath = Annotated[
    str | None,
    typer.Option(help="Empty folder or URI (s3://, gs://) for trials' files; else RUN/trials."),
]
Patience = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds to wait for study storage that is locked or unreachable."),
]
Wandb = Annotated[
    WandbChoice, typer.Option(help="auto: online where logged in to W&B, else offline.")
]
TrustedStorage = Annotated[
    str | None,
    typer.Option(
        "--storage", help="The run's database, to trust it: needed once for another user's run."
    ),
]
TrustedStoragePath = Annotated[
    str | None,
    typer.Option(
        "--storage-path",
        help="Root of the trials' files, to trust it, where it is not in the folder.",
    ),
]


@dataclass(frozen=True)
class RunOptions:
    """Options of every search, whether it is started or resumed; their help says what each is."""

    dry_run: DryRun = False
    address: Address = None
    nodes: Nodes = None
    trials: Trials = None
    hours: Hours = None
    core_hours: CoreHours = None
    trial_memory_gb: TrialMemory = None
    storage: Storage = None
    storage_path: StoragePath = None
    patience: Patience = PATIENCE_SECONDS
    wandb: Wandb = "auto"

    @property
    def budget(self) -> dict[str, str]:
        """Key of the budget -> its text on the command line."""
        return budget_changes(
            trials=self.trials,
            hours=self.hours,
            core_hours=self.core_hours,
            trial_memory_gb=self.trial_memory_gb,
        )


@dataclass(frozen=True)
class ResumeOptions(RunOptions):
    """Options of a search that is resumed: its storage is named only to trust it."""

    storage: TrustedStorage = None
    storage_path: TrustedStoragePath = None


def with_flat_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `options` of a command by the fields of its dataclass.

    Args:
        command: Function whose keyword parameter `options` is a dataclass of typer options.

    Returns:
        The function as typer takes it, with one parameter per option.
    """
    parameters = dict(inspect.signature(command, eval_str=True).parameters)
    options = parameters.pop("options").annotation
    fields = inspect.signature(options, eval_str=True).parameters

    @wraps(command)
    def flat(**arguments: Any) -> None:
        values = {name: arguments.pop(name) for name in fields}
        command(**arguments, options=options(**values))

    signature = inspect.Signature([*parameters.values(), *fields.values()])
    flat.__signature__ = signature  # type: ignore[attr-defined]
    return flat
