"""Trained models, loaded from a bundle, from the folder of a run, or from a file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.embeddings import EmbeddingSource, source_of
from quantum_rerank.errors import BundleError, DataError, EmbeddingError
from quantum_rerank.evaluation.measurements import SeedGains, TrainingSummary
from quantum_rerank.export.bundle import MANIFEST, bundle_in, read_bundle
from quantum_rerank.records import read_record
from quantum_rerank.regular_files import MAX_WEIGHTS, read_regular, reason
from quantum_rerank.similarity import Head
from quantum_rerank.training.best_model import read_best_model
from quantum_rerank.training.run_record import FINGERPRINTS, RUN_FILE
from quantum_rerank.training.run_results import BEST_MODELS, model_origin
from quantum_rerank.training.serialization import loads

_TRIALS = "trials"  # folder within the run of a search; it has a folder per trial


@dataclass(frozen=True)
class TrainedModel:
    """Trained model with the record of its training.

    Attributes:
        head: Model that represents texts and compares representations.
        config: Configuration of the training.
        fusion_weight: Weight of the affinity beside the cosine, between 0 and 1.
        embedding_dim: Size of an embedding.
        metrics: Role of queries -> metric -> mean.
        training_summary: Summary of the training.
        seeds: Results of the same configuration on other seeds.
        encoder_fingerprint: Encoder of the training; empty if it is not recorded, as for a file
            outside of the folder of its run.
        data_fingerprint: Collections of the training; empty if they are not recorded.
    """

    head: Head
    config: ExperimentConfig
    fusion_weight: float
    embedding_dim: int
    metrics: Mapping[str, Mapping[str, float]]
    training_summary: TrainingSummary
    seeds: SeedGains
    encoder_fingerprint: str = ""
    data_fingerprint: str = ""


@dataclass(frozen=True)
class ModelEncoder:
    """Encoder that embeds texts for a trained model.

    Attributes:
        source: Source of the embeddings.
        name: Name that the user knows the source by, for messages.
    """

    source: EmbeddingSource
    name: str


def load_model(path: Path) -> TrainedModel:
    """Load a trained model.

    Args:
        path: Bundle, folder of a run that holds a bundle, or file with the best epoch of a model.

    Returns:
        The model, ready to rank.

    Raises:
        BundleError: There is no model, or its file is incomplete or was changed.
    """
    if path.is_file() and path.name != MANIFEST:
        return _from_best_model(path)
    bundle = bundle_in(path)
    if not (bundle / MANIFEST).is_file():
        raise BundleError(
            f"`{path}` holds no model. Pass a bundle (a folder with {MANIFEST}), the folder of a "
            "finished training or search, or a file of weights (`*.safetensors`)."
        )
    return _from_bundle(bundle)


def encoder_for(
    model: TrainedModel, name: str | None, device: str, batch_size: int
) -> ModelEncoder:
    """Return the encoder of a model, with the prompts of its training.

    Args:
        model: Model to embed texts for.
        name: Encoder that overrides the one recorded at training time; None keeps that one.
        device: Device to encode on, such as `cpu` or `cuda:1`.
        batch_size: Texts in a batch of the encoder.

    Raises:
        EmbeddingError: There is no such encoder or device.
    """
    settings = {"device": device, "encoder_batch_size": batch_size}
    source = source_of(model.config.data.model_copy(update=settings), name)
    return ModelEncoder(source, name or model.config.data.encoder)


def require_same_encoder(model: TrainedModel, encoder: ModelEncoder) -> None:
    """Raise BundleError if vectors are of another encoder than those of the training.

    Folders of vectors are not compared with each other here: a folder with vectors of other
    texts may be of the same encoder. See `require_same_vectors`.
    """
    recorded = model.encoder_fingerprint
    if not recorded or (recorded.startswith("npy:") and encoder.name.startswith("npy:")):
        return
    fingerprint = encoder.source.fingerprint
    if recorded != fingerprint:
        raise BundleError(
            f"The encoder `{encoder.name}` is `{fingerprint}` here, but the model was trained with "
            f"`{recorded}` (`{model.config.data.encoder}`). Install the same encoder, or name it "
            "with --encoder."
        )


def require_same_vectors(model: TrainedModel, fingerprint: str, encoder: ModelEncoder) -> None:
    """Raise BundleError if the vectors of the training's collections have changed.

    Args:
        model: Model whose collections were embedded.
        fingerprint: Fingerprint of their vectors today.
        encoder: Encoder that `require_same_encoder` has accepted.
    """
    recorded = model.encoder_fingerprint
    if recorded.startswith("npy:") and recorded != fingerprint:
        raise BundleError(
            f"The vectors in `{encoder.name}` are `{fingerprint}`, but the model was trained on "
            f"`{recorded}`. Restore the vectors that it was trained on."
        )


def require_same_data(model: TrainedModel, fingerprint: str, way_out: str) -> None:
    """Raise DataError if the collections of the training have changed.

    Args:
        model: Trained model; without a recorded fingerprint nothing is compared.
        fingerprint: Fingerprint of the collections today.
        way_out: Sentence that ends the message.
    """
    if model.data_fingerprint not in ("", fingerprint):
        raise DataError(
            "The collections of the model's configuration are not those it was trained on: texts, "
            f"their order, judgments or splits have changed. {way_out}"
        )


def require_same_width(model: TrainedModel, width: int, encoder: ModelEncoder) -> None:
    """Raise EmbeddingError if embeddings do not have the size of the training's."""
    if width != model.embedding_dim:
        raise EmbeddingError(
            f"The encoder `{encoder.name}` gives vectors of {width} numbers, but the model was "
            f"trained on {model.embedding_dim}. Name the encoder of its training with --encoder."
        )


def _from_bundle(folder: Path) -> TrainedModel:
    head, manifest = read_bundle(folder)
    training = dict(manifest.training)
    try:
        seeds = _from_json(SeedGains, dict(training.pop("seeds", {})))
        summary = _from_json(TrainingSummary, training)
    except (TypeError, ValueError):
        raise BundleError(f"`{folder / MANIFEST}` is damaged: its `training` is invalid.") from None
    return TrainedModel(
        head=head,
        config=manifest.config,
        fusion_weight=manifest.fusion_weight,
        embedding_dim=manifest.embedding_dim,
        metrics=manifest.metrics,
        training_summary=summary,
        seeds=seeds,
        encoder_fingerprint=manifest.encoder_fingerprint,
        data_fingerprint=manifest.data_fingerprint,
    )


def _from_best_model(path: Path) -> TrainedModel:
    name = f"`{path}`"
    try:
        content = read_regular(path, MAX_WEIGHTS, follow_link=True)
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {reason(error)}.") from None
    record = _run_record(path)
    head, validation, config, epoch = read_best_model(content, name, _origin(path, record))
    return TrainedModel(
        head=head,
        config=config,
        fusion_weight=validation.fusion_weight,
        embedding_dim=int(loads(content, name)["embedding_dim"]),
        metrics={"validation": validation.metrics},
        training_summary=TrainingSummary(epoch),
        seeds=SeedGains(),
        **{name: str(record.get(name, "")) for name in FINGERPRINTS},
    )


def _origin(path: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the origin that weights in the folder of a run must have; None for other places."""
    folder = path.resolve().parent
    if record and folder.parent.name == _TRIALS and folder.name.isdigit():
        return {"run": str(record.get("run", "")), "trial": int(folder.name)}
    if record and folder.name == BEST_MODELS:
        return dict(model_origin(path.stem, str(record.get("data_fingerprint", ""))))
    return None


def _run_record(path: Path) -> dict[str, Any]:
    """Return the record of the run that has a file of weights; empty if there is none."""
    folder = path.resolve().parent.parent
    record = (folder.parent if folder.name == _TRIALS else folder) / RUN_FILE
    return read_record(record) if record.is_file() else {}


def _from_json(kind: type[Any], record: Mapping[str, Any]) -> Any:
    """Return a dataclass from its JSON, in which tuples are lists."""
    names = {field.name for field in fields(kind)}
    values = {name: value for name, value in record.items() if name in names}
    return TypeAdapter(kind).validate_python(values)
