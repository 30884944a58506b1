"""A trained model as a bundle that reranks by itself, or the circuit of a text as OpenQASM."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quantum_rerank.cli.trained_model import BatchSize, Device, EncoderName, ModelPath
from quantum_rerank.console import run, say
from quantum_rerank.errors import BundleError, DataError
from quantum_rerank.paths import require_exists

if TYPE_CHECKING:
    from quantum_rerank.cli.trained_model import TrainedModel
    from quantum_rerank.embeddings import EmbeddingSource

QASM_FILE = "circuit-{:02d}.qasm"


class Format(StrEnum):
    """What is written."""

    BUNDLE = "bundle"
    QASM = "qasm"


app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def main(
    model: ModelPath,
    output: Annotated[Path, typer.Option(help="New folder for what is exported.")],
    format_: Annotated[
        Format, typer.Option("--format", help="bundle, or qasm: the circuits of texts.")
    ] = Format.BUNDLE,
    model_name: Annotated[
        str | None,
        typer.Option("--model", help="Another model of the training than the configured one."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="A text whose circuit is written as OpenQASM 2. Repeatable."),
    ] = None,
    role: Annotated[
        Literal["query", "document"],
        typer.Option(help="What a --text is, for encoders that embed the two differently."),
    ] = "document",
    encoder: EncoderName = None,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
) -> None:
    """Export a trained model, from the best epoch that its training has kept.

    A bundle needs the collections of the training, some of whose texts are kept in it with
    their scores. A circuit is written with the angles that the model gives it for one text,
    or, by `hybrid_amplitude`, so that it makes the amplitudes that are predicted; the fidelity
    of two texts is that of the states that their circuits prepare. Examples:

        python -m quantum_rerank.cli.export_model runs/first --model mlp_twin \\
            --output twin

        python -m quantum_rerank.cli.export_model \\
            RUN/trials/00007/best.safetensors --output best

        python -m quantum_rerank.cli.export_model RUN/best --format qasm \\
            --text "fear of spiders" --text Arachnophobia --output circuits
    """
    from quantum_rerank.atomic import require_free
    from quantum_rerank.cli.trained_model import load_model, source_for

    require_free(output)
    if format_ is Format.QASM and not text:
        raise DataError("A circuit is that of a text. Give at least one with --text.")
    if text and format_ is not Format.QASM:
        raise DataError("A --text is for circuits, and a bundle has none. Add --format qasm.")
    if not all(one.strip() for one in text or []):
        raise DataError("A --text is empty, and has no state to prepare. Give it words.")
    trained = load_model(_checkpoint_of(model, model_name) if model_name else model)
    source = source_for(trained, encoder, device, batch_size)
    named = encoder or trained.config.data.encoder
    if format_ is Format.QASM:
        _write_circuits(output, trained, text or [], source, named, role)
    else:
        _write_bundle(output, trained, model, source, named)
    say(f"Exported {trained.config.model} to {output}.")


def _checkpoint_of(folder: Path, model: str) -> Path:
    from quantum_rerank.cli.training_record import CHECKPOINTS

    path = folder / CHECKPOINTS / f"{model}.safetensors"
    require_exists(folder, BundleError)
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.safetensors"))
        there = f"It has {', '.join(known)}." if known else "Give the folder of a training."
        raise BundleError(f"`{folder}` has no checkpoint of `{model}`. {there}")
    return path


def _write_bundle(
    output: Path, trained: TrainedModel, origin: Path, source: EmbeddingSource, encoder: str
) -> None:
    from quantum_rerank.cli.trained_model import (
        require_same_data,
        require_same_encoder,
        require_same_vectors,
    )
    from quantum_rerank.export import ExportedModel, export_model
    from quantum_rerank.training.data_manager import prepare

    config, record = trained.config, _record(origin)
    trained = replace(
        trained,
        data_fingerprint=trained.data_fingerprint or record.get("data_fingerprint", ""),
        metrics={**_tested(record, config.model), **trained.metrics},
    )
    require_same_encoder(trained, source, encoder)
    prepared = prepare(config.data, source)
    require_same_vectors(trained, prepared.encoder_fingerprint, encoder)
    require_same_data(trained, prepared.fingerprint, "Put back those that it was trained on.")
    model = ExportedModel(
        head=trained.head,
        config=config,
        fusion_weight=trained.fusion_weight,
        encoder_fingerprint=source.fingerprint,
        data_fingerprint=prepared.fingerprint,
        metrics=trained.metrics,
        examples=prepared.examples,
        training={**asdict(trained.training_summary), "seeds": asdict(trained.seeds)},
    )
    export_model(output, model)


def _record(folder: Path) -> dict[str, Any]:
    """What a training has recorded; nothing where the model comes from elsewhere."""
    from quantum_rerank.cli.training_record import METRICS_FILE

    path = folder / METRICS_FILE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise BundleError(f"`{path}` cannot be read: {error}.") from None


def _tested(record: Mapping[str, Any], model: str) -> dict[str, dict[str, float]]:
    """Role -> what a model scored on test queries, once, at the end of its training."""
    roles = ("test", "unseen_test")
    return {role: record[role][model] for role in roles if model in record.get(role, {})}


def _write_circuits(
    output: Path,
    trained: TrainedModel,
    texts: Sequence[str],
    source: EmbeddingSource,
    encoder: str,
    role: str,
) -> None:
    from quantum_rerank.atomic import staged_folder
    from quantum_rerank.cli.trained_model import require_same_encoder
    from quantum_rerank.embeddings import Role, TextEncoder
    from quantum_rerank.export.qasm import circuit_qasm

    if not isinstance(source, TextEncoder):
        raise DataError(
            "The model was trained on vectors that were computed elsewhere, and cannot embed a "
            "text. Call `quantum_rerank.export.qasm.circuit_qasm` with a vector."
        )
    require_same_encoder(trained, source, encoder)
    vectors = source.encode(texts, role=Role(role))
    for message in source.coverage(texts, role=Role(role)).warnings(Role(role)):
        typer.echo(message, err=True)
    with staged_folder(output) as folder:
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True), start=1):
            comment = f"// {' '.join(text.split())}\n"
            content = comment + circuit_qasm(trained.head, vector)
            (folder / QASM_FILE.format(number)).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    run(app)
