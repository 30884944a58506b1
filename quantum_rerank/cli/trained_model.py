"""A trained model from wherever it lies: a bundle, the folder of a run, or a checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantum_rerank.errors import BundleError, DataError, EmbeddingError

if TYPE_CHECKING:
    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.embeddings import EmbeddingSource
    from quantum_rerank.evaluation.measurements import SeedObjectives, TrainingSummary
    from quantum_rerank.similarity import Head

ModelPath = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A bundle, the folder of a training or of a search, or the file of a checkpoint.",
    ),
]
"""Where a model lies, as an argument of a command: whatever `load_model` takes."""

EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder", help="Who embeds the texts, where it is no longer called as in training."
    ),
]
"""The encoder of a model that was trained elsewhere, as an option of a command."""

Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Where the encoder runs: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto` for the fastest.",
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Texts that the encoder takes at once.")
]

_TRIALS = "trials"  # within the folder of a search: a folder per trial, with its checkpoints
_HASHED = re.compile("npy:[0-9a-f]{64}")  # arrays by their content, as `ArraySource` has it


@dataclass(frozen=True)
class TrainedModel:
    """A model, and what is known of how it was made.

    encoder_fingerprint, data_fingerprint: empty where nobody knows them, as of a checkpoint that
        lies in no run's folder.
    """

    head: Head
    config: ExperimentConfig
    fusion_weight: float
    embedding_dim: int
    metrics: Mapping[str, Mapping[str, float]]
    training_summary: TrainingSummary
    seeds: SeedObjectives
    encoder_fingerprint: str = ""
    data_fingerprint: str = ""


def load_model(path: Path) -> TrainedModel:
    """Load a model from a bundle, from the bundle in a run's folder, or from a checkpoint.

    Raises: BundleError if there is none, or it was cut off or altered.
    """
    from quantum_rerank.export.bundle import MANIFEST, bundle_in

    if path.is_file() and path.name != MANIFEST:
        return _from_checkpoint(path)
    found = bundle_in(path)
    if not (found / MANIFEST).is_file():
        raise BundleError(
            f"`{path}` holds no model. Give a bundle (a folder with {MANIFEST}), the folder of a "
            "training or of a search that has ended, or the file of a checkpoint."
        )
    return _from_bundle(found)


def source_for(
    model: TrainedModel, encoder: str | None, device: str, batch_size: int
) -> EmbeddingSource:
    """Find what embeds texts for a model, with the prompts that it was trained with.

    encoder: takes the place of the one trained with.
    Raises: EmbeddingError if there is no such device.
    """
    from quantum_rerank.embeddings import source_of

    here = {"device": device, "encoder_batch_size": batch_size}
    return source_of(model.config.data.model_copy(update=here), encoder)


def require_same_encoder(model: TrainedModel, source: EmbeddingSource, name: str) -> None:
    """Refuse vectors of another encoder than the model's.

    Arrays are let pass with arrays: others may be of the same encoder, for other texts.
    """
    theirs = model.encoder_fingerprint
    if not theirs or (theirs.startswith("npy:") and name.startswith("npy:")):
        return
    here = source.fingerprint
    if theirs == here:
        return
    raise BundleError(
        f"The encoder `{name}` is `{here}` here, but the model was trained with `{theirs}` "
        f"(`{model.config.data.encoder}`). Install the same one, or name it with --encoder."
    )


def require_same_vectors(model: TrainedModel, fingerprint: str, name: str) -> None:
    """Refuse other arrays than those of the training, where they are of its own collections.

    fingerprint: theirs, of a source that `require_same_encoder` has let pass. Earlier versions
        knew arrays by their folder's name, which says nothing of what was in it.
    """
    theirs = model.encoder_fingerprint
    if _HASHED.fullmatch(theirs) and theirs != fingerprint:
        raise BundleError(
            f"The vectors in `{name}` are `{fingerprint}`, but the model was trained on "
            f"`{theirs}`. Put back those that it was trained on."
        )


def require_same_data(model: TrainedModel, fingerprint: str, way_out: str) -> None:
    """Refuse other collections than those of the training, where it is known which they were."""
    if model.data_fingerprint not in ("", fingerprint):
        raise DataError(
            "The collections of the model's configuration are not those it was trained on: texts, "
            f"their order, judgments or splits were changed. {way_out}"
        )


def require_same_width(model: TrainedModel, width: int, name: str) -> None:
    """Refuse vectors that the model cannot take."""
    if width != model.embedding_dim:
        raise EmbeddingError(
            f"The encoder `{name}` gives vectors of {width} numbers, but the model was trained "
            f"on {model.embedding_dim}. Name the encoder of its training with --encoder."
        )


def _from_bundle(folder: Path) -> TrainedModel:
    from quantum_rerank.evaluation.measurements import SeedObjectives, TrainingSummary
    from quantum_rerank.export import read_bundle

    head, manifest = read_bundle(folder)
    training = dict(manifest.training)
    seeds = training.pop("seeds", {})
    return TrainedModel(
        head,
        manifest.config,
        manifest.fusion_weight,
        manifest.embedding_dim,
        manifest.metrics,
        _made(TrainingSummary, training),
        _made(SeedObjectives, seeds),
        manifest.encoder_fingerprint,
        manifest.data_fingerprint,
    )


def _from_checkpoint(path: Path) -> TrainedModel:
    from quantum_rerank.evaluation.measurements import SeedObjectives, TrainingSummary
    from quantum_rerank.training.best_model import read_best_model
    from quantum_rerank.training.serialization import loads

    name = f"`{path}`"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}.") from None
    head, validation, config, epoch = read_best_model(content, name, _maker(path))
    return TrainedModel(
        head,
        config,
        validation.fusion_weight,
        int(loads(content, name)["embedding_dim"]),
        {"validation": validation.metrics},
        TrainingSummary(epoch),
        SeedObjectives(),
        **_fingerprints(path),
    )


def _fingerprints(checkpoint: Path) -> dict[str, str]:
    """What the run in whose folder a checkpoint lies was trained on; nothing of any other."""
    from quantum_rerank.cli.unfinished import FINGERPRINTS

    record = _run_record(checkpoint)
    return {name: str(record.get(name, "")) for name in FINGERPRINTS} if record else {}


def _maker(checkpoint: Path) -> dict[str, Any] | None:
    """Return the origin that a checkpoint in a run's folder must name; None elsewhere."""
    from quantum_rerank.cli.training_record import CHECKPOINTS, made_by

    record, folder = _run_record(checkpoint), checkpoint.resolve().parent
    if record and folder.parent.name == _TRIALS and folder.name.isdigit():
        return {"run": str(record.get("run", "")), "trial": int(folder.name)}
    if record and folder.name == CHECKPOINTS:
        return made_by(checkpoint.stem, str(record.get("data_fingerprint", "")))
    return None


def _run_record(checkpoint: Path) -> dict[str, Any]:
    """The record of the run in whose folder a checkpoint lies; empty if it lies in none."""
    from quantum_rerank.cli.unfinished import RUN_FILE

    folder = checkpoint.resolve().parent.parent
    path = (folder.parent if folder.name == _TRIALS else folder) / RUN_FILE
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise BundleError(f"`{path}` cannot be read: {error}.") from None


def _made(kind: type[Any], record: Mapping[str, Any]) -> Any:
    """A dataclass from what JSON made of it; fields of another version are passed over."""
    names = {field.name for field in fields(kind)}
    values = {name: value for name, value in record.items() if name in names}
    return kind(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})
