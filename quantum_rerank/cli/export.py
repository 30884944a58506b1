"""Command `export`: write a trained model as a bundle, or its circuits as OpenQASM."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from quantum_rerank.cli.model_options import BatchSize, Device, EncoderName, ModelPath
from quantum_rerank.cli.tuning_commands import EXPORT_TRIAL, load_tuning
from quantum_rerank.console import run, say
from quantum_rerank.errors import ConfigError, DataError

if TYPE_CHECKING:
    from quantum_rerank.export.trained_model import ModelEncoder, TrainedModel


app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


class Format(StrEnum):
    """Format of an export."""

    BUNDLE = "bundle"
    QASM = "qasm"


Output = Annotated[Path, typer.Option("--output", help="New folder for the export.")]
FormatOption = Annotated[
    Format, typer.Option("--format", help="bundle, or qasm: the circuits of texts.")
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", help="Model of a training. Default: the configured model."),
]
Texts = Annotated[
    list[str] | None,
    typer.Option("--text", help="A text whose circuit is written as OpenQASM 2. Repeatable."),
]
RoleOption = Annotated[
    Literal["query", "document"],
    typer.Option(
        "--role", help="Role of a --text, for encoders that embed the two roles differently."
    ),
]
Trial = Annotated[
    int | None, typer.Option("--trial", help="Number of a trial of a search. Default: the best.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="Database of the search, to trust it. Needed once for another user's search.",
    ),
]
StoragePath = Annotated[
    str | None,
    typer.Option(
        "--storage-path",
        help="Folder or URI of the files of trials, to trust it, if it is outside of the search's.",
    ),
]


@app.command()
def export(
    model: ModelPath,
    output: Output,
    format_: FormatOption = Format.BUNDLE,
    trial: Trial = None,
    storage: Storage = None,
    storage_path: StoragePath = None,
    model_name: ModelName = None,
    text: Texts = None,
    role: RoleOption = "document",
    encoder: EncoderName = None,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
) -> None:
    """Export a trained model from the best epoch of its training.

    MODEL may be a search, of which the best trial is exported, or --trial. A bundle needs the
    collections of the training: it stores some of their texts with their scores. With --format
    qasm, each --text becomes a circuit that prepares its state; the fidelity of two texts is that
    of their states. Examples:

        quantum-rerank export RUN --trial 7 --output trial-7

        quantum-rerank export runs/first --model mlp_twin --output twin

        quantum-rerank export RUN/trials/00007/best.safetensors --output best

        quantum-rerank export RUN/best --format qasm \\
            --text "fear of spiders" --text Arachnophobia --output circuits
    """
    from quantum_rerank.atomic import require_free
    from quantum_rerank.export.trained_model import encoder_for, load_model
    from quantum_rerank.workflows.export import best_model_path, export_bundle, is_search

    require_free(output)
    _check_texts(format_, text or [])
    if is_search(model) and format_ is Format.BUNDLE and model_name is None:
        export_trial = load_tuning(EXPORT_TRIAL, "quantum-rerank export")
        export_trial(model, output, trial, storage, storage_path)
        return
    if trial is not None or storage or storage_path:
        raise ConfigError(
            "--trial, --storage and --storage-path select a trial of a search, but "
            f"`{model}` is not the folder of a search, or --model or --format is given too."
        )
    trained = load_model(best_model_path(model, model_name) if model_name else model)
    text_encoder = encoder_for(trained, encoder, device, batch_size)
    if format_ is Format.QASM:
        _export_circuits(output, trained, text or [], text_encoder, role)
    else:
        export_bundle(output, trained, model, text_encoder)
    say(f"Exported {trained.config.model} to {output}.")


def _check_texts(format_: Format, texts: Sequence[str]) -> None:
    """Raise DataError if texts are missing, empty, or not used by the format."""
    if format_ is Format.QASM and not texts:
        raise DataError("A circuit is that of a text. Give at least one with --text.")
    if texts and format_ is not Format.QASM:
        raise DataError("A --text is for circuits, and a bundle has none. Add --format qasm.")
    if not all(text.strip() for text in texts):
        raise DataError("A --text is empty, and has no state to prepare. Give it words.")


def _export_circuits(
    output: Path, model: TrainedModel, texts: Sequence[str], encoder: ModelEncoder, role: str
) -> None:
    from quantum_rerank.embeddings import Role
    from quantum_rerank.workflows.export import export_circuits

    for message in export_circuits(output, model, texts, encoder, Role(role)):
        say(message, stderr=True)


if __name__ == "__main__":
    run(app)
