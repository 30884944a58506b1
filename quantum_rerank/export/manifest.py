"""The manifest of a bundle: the record of a trained model, and its JSON form."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from quantum_rerank.config import ExperimentConfig, build_config
from quantum_rerank.records import checked
from quantum_rerank.similarity.size import MAX_DIMENSION

SCHEMA_VERSION = 1
_PACKAGES = ("quantum-rerank", "torch", "pennylane", "pennylane-lightning", "sentence-transformers")


@dataclass(frozen=True)
class Example:
    """A query and documents with the scores that the exported model gave them."""

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Manifest:
    """The record of a trained model.

    Attributes:
        config: The configuration of the training.
        embedding_dim: The number of dimensions of the embeddings.
        fusion_weight: The weight w of the affinity beside the first-stage score.
        encoder_fingerprint: The encoder of the embeddings, as in `TextEncoder.fingerprint`.
        data_fingerprint: The data of the training.
        metrics: Role of queries (`validation`, `test`) -> metric -> value.
        examples: Texts with the scores that the model gave them.
        versions: Package -> version at the time of the export.
        training: The course of the training, and under `seeds` the objectives of other seeds;
            empty if unknown.
        sha256: The hash of the whole bundle. Set when a bundle is read, and not written.
    """

    config: ExperimentConfig
    embedding_dim: int
    fusion_weight: float
    encoder_fingerprint: str
    data_fingerprint: str
    metrics: Mapping[str, Mapping[str, float]]
    examples: tuple[Example, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""


_DIMENSION = TypeAdapter(Annotated[int, Field(ge=1, le=MAX_DIMENSION, strict=True)])
_WEIGHT = TypeAdapter(Annotated[float, Field(ge=0.0, le=1.0)])  # which no NaN is
_METRICS: TypeAdapter[Mapping[str, Mapping[str, float]]] = TypeAdapter(dict[str, dict[str, float]])
_EXAMPLES = TypeAdapter(tuple[Example, ...])
_VERSIONS: TypeAdapter[Mapping[str, str]] = TypeAdapter(dict[str, str])
_TRAINING: TypeAdapter[Mapping[str, Any]] = TypeAdapter(dict[str, Any])


def manifest_record(manifest: Manifest, files: Mapping[str, str]) -> dict[str, Any]:
    """Return a manifest as a JSON object with its own hash.

    Args:
        manifest: The manifest.
        files: File of the bundle -> SHA-256.
    """
    record = {
        "schema_version": SCHEMA_VERSION,
        "model": manifest.config.model,
        "seed": manifest.config.seed,
        "config": manifest.config.model_dump(mode="json"),
        "embedding_dim": manifest.embedding_dim,
        "fusion_weight": manifest.fusion_weight,
        "encoder_fingerprint": manifest.encoder_fingerprint,
        "data_fingerprint": manifest.data_fingerprint,
        "metrics": manifest.metrics,
        "examples": [asdict(example) for example in manifest.examples],
        "versions": manifest.versions or installed_versions(),
        **({"training": manifest.training} if manifest.training else {}),
        "files": dict(files),
    }
    return {**record, "manifest_sha256": manifest_sha256(record)}


def read_manifest(record: Mapping[str, Any]) -> Manifest:
    """Return the manifest that `manifest_record` wrote.

    Raises:
        ConfigError: The configuration is not valid.
        KeyError: A key is missing.
        TypeError: A value has another type.
        ValueError: A value has another type, or a number is out of its range.
    """
    return Manifest(
        config=build_config(record["config"]),
        embedding_dim=checked(_DIMENSION, record["embedding_dim"], "embedding_dim"),
        fusion_weight=checked(_WEIGHT, record["fusion_weight"], "fusion_weight"),
        encoder_fingerprint=str(record["encoder_fingerprint"]),
        data_fingerprint=str(record["data_fingerprint"]),
        metrics=checked(_METRICS, record["metrics"], "metrics"),
        examples=checked(_EXAMPLES, record["examples"], "examples"),
        versions=checked(_VERSIONS, record["versions"], "versions"),
        # Missing if it was empty.
        training=checked(_TRAINING, record.get("training", {}), "training"),
        sha256=record["manifest_sha256"],
    )


def manifest_sha256(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without the field that holds it."""
    rest = {key: value for key, value in record.items() if key != "manifest_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the scores."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):  # a checkout on the path is not installed
            versions[name] = version(name)
    return versions
