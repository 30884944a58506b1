"""Options of the search's commands, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

WandbChoice = Literal["auto", "online", "offline", "disabled"]

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
