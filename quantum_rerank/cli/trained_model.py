"""A trained model from wherever it lies: a bundle, the folder of a run, or a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantum_rerank.errors import BundleError, EmbeddingError

if TYPE_CHECKING:
    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.embeddings import EmbeddingSource
    from quantum_rerank.similarity import Head
    from quantum_rerank.training.validators import Course, Seeds

ModelPath = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A bundle, the folder of a training or of a search, or the file of a checkpoint.",
    ),
]
"""Where a model lies, as an argument of a command: whatever `load_model` takes."""

_BUNDLES = ("bundle", "best")  # within the folder of a training, and of a search


@dataclass(frozen=True)
class TrainedModel:
    """A model, and what is known of how it was made.

    encoder_fingerprint, data_fingerprint: empty where a checkpoint does not name them.
    """

    head: Head
    config: ExperimentConfig
    fusion_weight: float
    embedding_dim: int
    metrics: Mapping[str, Mapping[str, float]]
    course: Course
    seeds: Seeds
    encoder_fingerprint: str = ""
    data_fingerprint: str = ""


def load_model(path: Path) -> TrainedModel:
    """Load a model from a bundle, from the bundle in a run's folder, or from a checkpoint.

    Raises: BundleError if there is none, or it was cut off or altered.
    """
    from quantum_rerank.export.bundle import MANIFEST

    if path.is_file() and path.name != MANIFEST:
        return _from_checkpoint(path)
    folders = [path, *(path / name for name in _BUNDLES)]
    found = next((folder for folder in folders if (folder / MANIFEST).is_file()), None)
    if found is None:
        raise BundleError(
            f"`{path}` holds no model. Give a bundle (a folder with {MANIFEST}), the folder of a "
            "training or of a search that has ended, or the file of a checkpoint."
        )
    return _from_bundle(found)


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


def require_same_width(model: TrainedModel, width: int, name: str) -> None:
    """Refuse vectors that the model cannot take."""
    if width != model.embedding_dim:
        raise EmbeddingError(
            f"The encoder `{name}` gives vectors of {width} numbers, but the model was trained "
            f"on {model.embedding_dim}. Name the encoder of its training with --encoder."
        )


def _from_bundle(folder: Path) -> TrainedModel:
    from quantum_rerank.export import read_bundle
    from quantum_rerank.training.validators import Course, Seeds

    head, manifest = read_bundle(folder)
    training = dict(manifest.training)
    seeds = training.pop("seeds", {})
    return TrainedModel(
        head,
        manifest.config,
        manifest.fusion_weight,
        manifest.embedding_dim,
        manifest.metrics,
        _made(Course, training),
        _made(Seeds, seeds),
        manifest.encoder_fingerprint,
        manifest.data_fingerprint,
    )


def _from_checkpoint(path: Path) -> TrainedModel:
    from quantum_rerank.training.checkpoint import read_checkpoint
    from quantum_rerank.training.sealed import unseal
    from quantum_rerank.training.validators import Course, Seeds

    name = f"`{path}`"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}.") from None
    head, validation, config, epoch = read_checkpoint(content, name)
    return TrainedModel(
        head,
        config,
        validation.fusion_weight,
        int(unseal(content, name)["embedding_dim"]),
        {"validation": validation.metrics},
        Course(epoch),
        Seeds(),
    )


def _made(kind: type[Any], record: Mapping[str, Any]) -> Any:
    """A dataclass from what JSON made of it; fields of another version are passed over."""
    names = {field.name for field in fields(kind)}
    values = {name: value for name, value in record.items() if name in names}
    return kind(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})
