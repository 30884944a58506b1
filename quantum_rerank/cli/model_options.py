"""Options of commands that use a trained model and its encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelPath = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A bundle, the folder of a training or of a search, or a file of weights "
        "(`*.safetensors`).",
    ),
]

EncoderName = Annotated[
    str | None,
    typer.Option("--encoder", help="Override the encoder name recorded at training time."),
]

Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Device of the encoder: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto` for the fastest.",
    ),
]

BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Texts per batch of the encoder.")
]
