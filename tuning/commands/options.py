"""Options of commands that read the folder of a run."""

from __future__ import annotations

from typing import Annotated

import typer

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
