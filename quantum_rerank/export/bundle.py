"""A trained reranker as a folder that explains itself and can be checked.

    model.safetensors   the head's weights
    manifest.json       schema version, configuration, data fingerprint, metrics, seed,
                        versions, example scores, and the SHA-256 of the weights
    README.md           the model card, which may be edited or removed

Loading reads no pickle and runs no code from the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import Tensor

from quantum_rerank.atomic import require_free, staged_folder
from quantum_rerank.config import DataConfig, ExperimentConfig, build_config, override
from quantum_rerank.embeddings import ExampleTexts
from quantum_rerank.errors import BundleError, ConfigError
from quantum_rerank.forks import prepare_for_forks
from quantum_rerank.paths import as_path, require_exists
from quantum_rerank.similarity import MODELS, Head, build_head, score

SCHEMA_VERSION = 1
WEIGHTS, MANIFEST, CARD = "model.safetensors", "manifest.json", "README.md"
_WITHIN = ("bundle", "best")  # the folder of a training, and of a search
_PACKAGES = ("quantum-rerank", "torch", "pennylane", "pennylane-lightning", "sentence-transformers")

_GATE_NOTE = {"distance": ["w falls for queries that lie far from those trained on."]}


@dataclass(frozen=True)
class Example:
    """A query and documents with the scores that the exported model gave them."""

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    metrics: role (`validation`, `test`) -> name -> value.
    encoder_fingerprint: what the embeddings came from; see `TextEncoder.fingerprint`.
    training: how it was trained, as of `validators.Course`, and under `seeds` what other seeds
        came to, as of `validators.Seeds`; empty where nobody knows.
    sha256: of a bundle that was read, over all of it; no part of what is written.
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


def write_bundle(folder: Path, weights: Mapping[str, Tensor], manifest: Manifest) -> Path:
    """Write a bundle; the folder appears under its name only when it is whole.

    Raises: OutputError if the folder exists already or cannot be written.
    """
    from safetensors.torch import save

    require_free(folder)
    with staged_folder(folder) as staging:
        tensors = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
        # Not `save_file`, whose error on a full disk is no OSError.
        (staging / WEIGHTS).write_bytes(save(tensors))
        (staging / CARD).write_text(model_card(manifest), encoding="utf-8")
        text = json.dumps(_as_json(manifest, staging), indent=2, ensure_ascii=False)
        (staging / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return folder


def export_model(
    folder: Path,
    head: Head,
    config: ExperimentConfig,
    fusion_weight: float,
    encoder_fingerprint: str,
    data_fingerprint: str,
    metrics: Mapping[str, Mapping[str, float]],
    examples: Sequence[ExampleTexts],
    training: Mapping[str, Any] | None = None,
) -> Path:
    """Write a trained head as a bundle, with the scores that it gives to some examples.

    training: see `Manifest`.
    """
    head.eval()
    scored = tuple(
        Example(
            example.query,
            example.documents,
            tuple(
                score(head, fusion_weight, example.query_vector, example.document_vectors).tolist()
            ),
        )
        for example in examples
    )
    manifest = Manifest(
        config=config,
        embedding_dim=len(examples[0].query_vector),
        fusion_weight=fusion_weight,
        encoder_fingerprint=encoder_fingerprint,
        data_fingerprint=data_fingerprint,
        metrics=metrics,
        examples=scored,
        training=training or {},
    )
    return write_bundle(folder, head.state_dict(), manifest)


def bundle_in(folder: Path) -> Path:
    """The bundle that lies in the folder of a training or of a search; any other as it is.

    Raises: BundleError if the folder does not exist.
    """
    require_exists(folder, BundleError)
    folders = (folder, *(folder / name for name in _WITHIN))
    return next((one for one in folders if (one / MANIFEST).is_file()), folder)


def read_bundle(folder: str | os.PathLike[str], engine: str | None = None) -> tuple[Head, Manifest]:
    """Check and load a bundle; the head is ready to be used.

    engine: takes the place of the one trained with, which the manifest still names.
    Raises: BundleError if the folder does not exist, or a file in it is missing, cut off,
        altered, or of another version;
        ConfigError if there is no such engine.
    """
    from safetensors.torch import load

    prepare_for_forks()
    folder = as_path(folder, "folder")
    record = _checked_record(folder)
    try:
        config = build_config(_with_prompts(record["config"]))
        manifest = Manifest(
            config=config,
            embedding_dim=int(record["embedding_dim"]),
            fusion_weight=float(record["fusion_weight"]),
            encoder_fingerprint=str(record["encoder_fingerprint"]),
            data_fingerprint=str(record["data_fingerprint"]),
            metrics=record["metrics"],
            examples=tuple(
                Example(e["query"], tuple(e["documents"]), tuple(e["scores"]))
                for e in record["examples"]
            ),
            versions=record["versions"],
            training=record.get("training", {}),  # absent from bundles of earlier versions
            sha256=record["manifest_sha256"],
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise BundleError(f"`{folder / MANIFEST}` is damaged: {error!r}.") from None
    if engine is not None:
        # Threads suited the engine and the machine of the training.
        config = override(config, {"circuit.engine": engine, "circuit.threads": 1})
    head = build_head(config.resolved(), manifest.embedding_dim)
    try:
        weights = load((folder / WEIGHTS).read_bytes())
        # Assigned, not copied: torch copies large tensors with OpenMP's threads, after which a
        # forked process could not use them.
        head.load_state_dict(_in_types_of(head, weights), assign=True)
    except Exception as error:  # safetensors and torch each have their own kinds
        raise BundleError(f"`{folder / WEIGHTS}` does not fit its manifest: {error}.") from None
    return head.eval(), manifest


def _with_prompts(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration; earlier versions, which name no prompts, used none."""
    return {**config, "data": {"query_prompt": "", "document_prompt": "", **config["data"]}}


def _in_types_of(head: Head, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the number types that a head has them in; any other name is left as it is."""
    types = {name: tensor.dtype for name, tensor in head.state_dict().items()}
    return {name: tensor.to(types.get(name, tensor.dtype)) for name, tensor in weights.items()}


def _checked_record(folder: Path) -> dict[str, Any]:
    require_exists(folder, BundleError)
    if folder.is_file():
        raise BundleError(f"`{folder}` is a file, but a bundle is a folder with {MANIFEST}.")
    try:
        record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"`{folder}` is no bundle: it has no {MANIFEST}.") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"`{folder / MANIFEST}` cannot be read: {error}.") from None
    found = record.get("schema_version") if isinstance(record, dict) else None
    if found != SCHEMA_VERSION:
        raise BundleError(
            f"`{folder}` has the schema version {found!r}, but this package reads "
            f"{SCHEMA_VERSION}. Export it again, or use the package that wrote it."
        )
    if record.get("manifest_sha256") != _own_hash(record):
        raise BundleError(f"`{folder / MANIFEST}` was altered: its hash does not fit.")
    files = record.get("files")
    if not isinstance(files, dict) or WEIGHTS not in files:
        raise BundleError(f"`{folder / MANIFEST}` must name the hash of {WEIGHTS}.")
    # Earlier versions recorded a hash of the model card too, which people edit.
    if not (folder / WEIGHTS).is_file():
        raise BundleError(f"`{folder / WEIGHTS}` is missing.")
    if _sha256(folder / WEIGHTS) != files[WEIGHTS]:
        raise BundleError(
            f"`{folder / WEIGHTS}` was cut off or altered: its hash is not the one in {MANIFEST}."
        )
    return dict(record)


def _as_json(manifest: Manifest, folder: Path) -> dict[str, Any]:
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
        "versions": manifest.versions or _versions(),
        **({"training": manifest.training} if manifest.training else {}),
        "files": {WEIGHTS: _sha256(folder / WEIGHTS)},
    }
    return {**record, "manifest_sha256": _own_hash(record)}


def _own_hash(record: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest but for this field itself."""
    rest = {key: value for key, value in record.items() if key != "manifest_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):  # a checkout on the path is not installed
            found[name] = version(name)
    return found


def _prompt_notes(data: DataConfig) -> Iterator[str]:
    """Yield what is put before queries and documents, where a configuration says it."""
    for what, prompt in (("query", data.query_prompt), ("document", data.document_prompt)):
        if prompt:
            yield f"Text before each {what}: `{json.dumps(prompt, ensure_ascii=False)}`."


def model_card(manifest: Manifest) -> str:
    """The bundle's README: what it is, how it did, how to use it, what it is not."""
    config = manifest.config
    circuit, model = config.circuit, MODELS[config.model]
    parts = {
        "state": f"State: {circuit.n_qubits} qubits, simulated exactly.",
        "circuit": f"Circuit: {circuit.n_layers} layers.",
        "entangler": f"Entangler: `{circuit.entangler}`.",
        "mlp": f"MLP: {list(config.mlp.hidden_layers)}.",
        "linear": f"Rank: {config.linear.rank}.",
    }
    rows = [
        f"| {role} | {name} | {value:.4f} |"
        for role, metrics in manifest.metrics.items()
        for name, value in metrics.items()
    ]
    return "\n".join(
        [
            f"# Reranker `{config.model}`",
            "",
            f"Score = (1 - w) cosine + w affinity, w = {manifest.fusion_weight:.2f}, over "
            f"`{config.data.encoder}` embeddings ({manifest.embedding_dim}-d).",
            *_prompt_notes(config.data),
            *_GATE_NOTE.get(config.fusion.gate, ()),
            f"Affinity: {model.description}.",
            *(parts[part] for part in parts if part in model.components),
            "",
            "```python",
            "from quantum_rerank.reranker import Reranker",
            'Reranker.load("this/folder").rank("a query", ["a document", "another"], top_k=10)',
            "```",
            "",
            "## Training",
            f"Trained on {', '.join(config.data.seen)}; chosen on their validation queries"
            + (f" and on {', '.join(unseen)}" if (unseen := config.data.unseen_validation) else "")
            + f". Loss `{config.loss.name}`, seed {config.seed}.",
            f"Data fingerprint: `{manifest.data_fingerprint}`.",
            "",
            "## Results",
            "| queries | metric | value |",
            "|---|---|---|",
            *rows,
            "",
            "One training with one seed: another seed gives other figures.",
            "",
            "## Limits",
            "Made to rerank candidates of a first retrieval in the domains it was trained on; "
            "elsewhere it can rank below plain cosine. No quantum advantage is claimed: the "
            "circuit is simulated on a classical computer.",
            "",
        ]
    )
