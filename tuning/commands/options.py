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

_SPACE = typer.Option(
    help="Search space: `default`, `smoke`, `icd10`, `icd10_twin` or a YAML file."
)
SpaceFile = Annotated[Path, _SPACE]
OptionalSpaceFile = Annotated[Path | None, _SPACE]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a search.")]
Data = Annotated[
    list[str] | None,
    typer.Option(
        help="Collection to train and test on, such as csv:FILE. Repeatable. Replaces all "
        "collections of the space."
    ),
]
Output = Annotated[
    Path | None, typer.Option(help="New folder for the run. Default: runs/NAME-TIME.")
]
WarmStart = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="RUN",
        help="Folder of an earlier run, whose comparable trials start the search. Repeatable.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print the plan and stop.")
]
Address = Annotated[
    str | None,
    typer.Option(help="Address of the Ray cluster to join, or `auto`. Default: start Ray here."),
]
Nodes = Annotated[
    int | None, typer.Option(min=1, help="Number of Ray nodes to start on this machine.")
]
Trials = Annotated[
    str | None, typer.Option(help="Replaces budget.trials; on resuming, +20 adds 20.")
]
Hours = Annotated[str | None, typer.Option(help="Replaces budget.hours; on resuming, +2 adds 2.")]
CoreHours = Annotated[
    str | None, typer.Option(help="Replaces budget.core_hours; on resuming, +4 adds 4.")
]
TrialMemory = Annotated[
    float | None,
    typer.Option("--trial-memory-gb", help="Replaces budget.trial_memory_gb, in GiB."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="Storage of the study: sqlite, journal or postgresql://USER@HOST/DATABASE. With "
        "--resume or --rerun: the database of the run, to trust it."
    ),
]
StoragePath = Annotated[
    str | None,
    typer.Option(
        help="Empty folder or URI (s3://, gs://) for the files of trials. Default: RUN/trials."
    ),
]
Patience = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds to wait for study storage that is locked or unreachable."),
]
Wandb = Annotated[
    WandbChoice,
    typer.Option(
        help="W&B mode. auto: online if logged in to W&B, otherwise offline; disabled where "
        "the run that is resumed was started so."
    ),
]
TrustedStorage = Annotated[
    str | None,
    typer.Option(
        "--storage", help="Database of the run, to trust it. Needed once for another user's run."
    ),
]
TrustedStoragePath = Annotated[
    str | None,
    typer.Option(
        "--storage-path",
        help="Folder or URI of the files of trials, to trust it, if it is outside of RUN.",
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
