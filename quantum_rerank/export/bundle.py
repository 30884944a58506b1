"""Bundles: folders that hold a trained reranker and can be checked.

    model.safetensors   the weights
    terms.safetensors   term frequencies of the training's corpora, of a model with a lexical part
    manifest.json       schema version, configuration, data fingerprint, metrics, seed,
                        versions, example scores, and the SHA-256 of both
    README.md           the model card, which may be edited or removed

Loading a bundle reads no pickle and runs no code from the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from quantum_rerank.atomic import require_free, staged_folder
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import ExampleTexts
from quantum_rerank.errors import BundleError, ConfigError, first_line
from quantum_rerank.export.manifest import (
    SCHEMA_VERSION,
    Example,
    Manifest,
    manifest_record,
    manifest_sha256,
    read_manifest,
)
from quantum_rerank.export.model_card import model_card
from quantum_rerank.export.terms import lexicon_bytes, read_lexicon
from quantum_rerank.forks import prepare_for_forks
from quantum_rerank.lexical import Lexicon
from quantum_rerank.paths import as_path, require_exists
from quantum_rerank.regular_files import (
    MAX_WEIGHTS,
    open_regular,
    read_json,
    read_regular,
    reason,
    require_at_most,
    write_regular,
)
from quantum_rerank.similarity import Head, build_for_weights, require_usable, score

WEIGHTS, TERMS = "model.safetensors", "terms.safetensors"
MANIFEST, CARD = "manifest.json", "README.md"
_WITHIN = ("bundle", "best")  # the folder of a bundle in that of a training, and of a search


@dataclass(frozen=True)
class ExportedModel:
    """A trained model and the record to export with it.

    Attributes:
        head: The trained head.
        config: The configuration of the training.
        fusion_weight: The weight w of the affinity beside the first-stage score.
        encoder_fingerprint: The encoder of the embeddings, as in `TextEncoder.fingerprint`.
        data_fingerprint: The data of the training.
        metrics: Role of queries (`validation`, `test`) -> metric -> value.
        examples: At least one example, whose scores are written into the bundle.
        training: The course of the training; see `Manifest`.
        lexicon: Term frequencies of the training's corpora, for a head with a lexical part.
    """

    head: Head
    config: ExperimentConfig
    fusion_weight: float
    encoder_fingerprint: str
    data_fingerprint: str
    metrics: Mapping[str, Mapping[str, float]]
    examples: Sequence[ExampleTexts]
    training: Mapping[str, Any] = field(default_factory=dict)
    lexicon: Lexicon | None = None

    def manifest(self) -> Manifest:
        """Return the manifest, with the scores of the examples."""
        return Manifest(
            config=self.config,
            embedding_dim=len(self.examples[0].query_vector),
            fusion_weight=self.fusion_weight,
            encoder_fingerprint=self.encoder_fingerprint,
            data_fingerprint=self.data_fingerprint,
            metrics=self.metrics,
            examples=tuple(self._scored(example) for example in self.examples),
            training=self.training,
        )

    def _scored(self, example: ExampleTexts) -> Example:
        query, documents = example.query_vector, example.document_vectors
        lexical = None
        if self.head.lexical is not None and self.lexicon is not None:
            lexical = self.lexicon.scores(example.query, example.documents)
        scores = score(self.head, self.fusion_weight, query, documents, lexical).tolist()
        return Example(example.query, example.documents, tuple(scores))


def export_model(folder: Path, model: ExportedModel) -> Path:
    """Write a trained model as a bundle.

    Args:
        folder: The folder of the bundle.
        model: The model and its record.

    Returns:
        The folder.

    Raises:
        OutputError: The folder exists already or cannot be written.
    """
    model.head.eval()
    return write_bundle(folder, model.head.state_dict(), model.manifest(), model.lexicon)


def write_bundle(
    folder: Path,
    weights: Mapping[str, Tensor],
    manifest: Manifest,
    lexicon: Lexicon | None = None,
) -> Path:
    """Write a bundle. The folder is created only when the bundle is complete.

    Args:
        folder: The folder of the bundle.
        weights: The `state_dict` of the head.
        manifest: The manifest.
        lexicon: Term frequencies of a model with a lexical part.

    Returns:
        The folder.

    Raises:
        OutputError: The folder exists already or cannot be written.
    """
    from safetensors.torch import save

    require_free(folder)
    with staged_folder(folder) as staging:
        tensors = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
        # Not `save_file`, whose error on a full disk is no OSError.
        write_regular(staging / WEIGHTS, save(tensors))
        write_regular(staging / CARD, model_card(manifest).encode())
        if lexicon is not None:
            write_regular(staging / TERMS, lexicon_bytes(lexicon))
        files = [name for name in (WEIGHTS, TERMS) if (staging / name).exists()]
        record = manifest_record(manifest, {name: _sha256(staging / name) for name in files})
        text = json.dumps(record, indent=2, ensure_ascii=False)
        write_regular(staging / MANIFEST, f"{text}\n".encode())
    return folder


def bundle_in(folder: Path) -> Path:
    """Return the bundle in the folder of a training or of a search, or the folder itself.

    Raises:
        BundleError: The folder does not exist.
    """
    require_exists(folder, BundleError)
    folders = (folder, *(folder / name for name in _WITHIN))
    return next((path for path in folders if (path / MANIFEST).is_file()), folder)


def read_bundle(folder: str | os.PathLike[str], engine: str | None = None) -> tuple[Head, Manifest]:
    """Check and load a bundle.

    Args:
        folder: The folder of the bundle.
        engine: The circuit engine, instead of the one used in training. The manifest keeps the
            configuration of the training.

    Returns:
        The head in evaluation mode, and the manifest.

    Raises:
        BundleError: The folder does not exist, or a file in it is missing, cut off, altered,
            or of another version.
        ConfigError: There is no such engine.
    """
    prepare_for_forks()
    folder = as_path(folder, "folder")
    record = _checked_record(folder)
    try:
        manifest = read_manifest(record)
    except KeyError as error:
        raise BundleError(f"`{folder / MANIFEST}` is damaged: {error} is missing.") from None
    except (AttributeError, OverflowError, TypeError, ValueError, ConfigError) as error:
        raise BundleError(f"`{folder / MANIFEST}` is damaged: {first_line(error)}.") from None
    config = manifest.config
    if engine is not None:
        # The number of threads suited the engine and the machine of the training.
        config = override(config, {"circuit.engine": engine, "circuit.threads": 1})
    head = _loaded_head(config, manifest.embedding_dim, folder / WEIGHTS).eval()
    if head.lexical is not None:
        head.lexical.lexicon = _loaded_lexicon(config, folder / TERMS)
    return head, manifest


def _loaded_lexicon(config: ExperimentConfig, path: Path) -> Lexicon:
    try:
        content = read_regular(path, MAX_WEIGHTS)
        assert config.data.lexical != "none"
        return read_lexicon(content, config.data.lexical, config.data.language)
    except Exception as error:  # safetensors has its own types
        raise BundleError(f"`{path}` does not fit its manifest: {reason(error)}.") from None


def _loaded_head(config: ExperimentConfig, embedding_dim: int, path: Path) -> Head:
    from safetensors.torch import load

    try:
        content = read_regular(path, MAX_WEIGHTS)
        head = build_for_weights(config.resolved(), embedding_dim, len(content))
        weights = load(content)
        # Assigned, not copied: torch copies large tensors with OpenMP's threads, after which a
        # forked process could not use them.
        head.load_state_dict(_in_types_of(head, weights), assign=True)
        require_usable(head)
    except Exception as error:  # safetensors and torch each raise their own types
        raise BundleError(f"`{path}` does not fit its manifest: {reason(error)}.") from None
    return head


def _in_types_of(head: Head, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert weights to the number types of a head. Unknown names are left as they are."""
    types = {name: tensor.dtype for name, tensor in head.state_dict().items()}
    return {name: tensor.to(types.get(name, tensor.dtype)) for name, tensor in weights.items()}


def _checked_record(folder: Path) -> dict[str, Any]:
    """Read the manifest, and check its hash and those of the other files."""
    record = _read_record(folder)
    schema_version = record.get("schema_version")
    if schema_version != SCHEMA_VERSION:
        raise BundleError(
            f"`{folder}` has the schema version {schema_version!r}, but this package reads "
            f"{SCHEMA_VERSION}. Export it again, or use the package that wrote it."
        )
    if record.get("manifest_sha256") != manifest_sha256(record):
        raise BundleError(f"`{folder / MANIFEST}` was altered: its hash does not match.")
    files = record.get("files")
    if not isinstance(files, dict) or WEIGHTS not in files:
        raise BundleError(f"`{folder / MANIFEST}` must name the hash of {WEIGHTS}.")
    for name in (WEIGHTS, TERMS):
        if name in files and _checked_sha256(folder / name) != files[name]:
            raise BundleError(
                f"`{folder / name}` was cut off or altered: its hash is not the one in {MANIFEST}."
            )
    return record


def _read_record(folder: Path) -> dict[str, Any]:
    require_exists(folder, BundleError)
    if folder.is_file():
        raise BundleError(f"`{folder}` is a file, but a bundle is a folder with {MANIFEST}.")
    try:
        record = read_json(folder / MANIFEST)
    except FileNotFoundError:
        raise BundleError(f"`{folder}` is not a bundle: it has no {MANIFEST}.") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"`{folder / MANIFEST}` cannot be read: {reason(error)}.") from None
    return record if isinstance(record, dict) else {}


def _checked_sha256(path: Path) -> str:
    """Return the hash of a file of a bundle; BundleError if it cannot be read."""
    try:
        return _sha256(path)
    except FileNotFoundError:
        raise BundleError(f"`{path}` is missing.") from None
    except OSError as error:
        raise BundleError(f"`{path}` cannot be read: {reason(error)}.") from None


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        require_at_most(MAX_WEIGHTS, file, path)
        return hashlib.file_digest(file, "sha256").hexdigest()
