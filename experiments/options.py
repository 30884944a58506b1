"""Options that the commands of the experiments share."""

from __future__ import annotations

from typing import Annotated

import typer

Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Number of trainings at once, one core each. Default: all cores."),
]
Encoder = Annotated[str, typer.Option(help="Name or folder of the encoder.")]
