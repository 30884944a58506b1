"""Export of a trained model: as a bundle, or as circuits of texts in OpenQASM 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from quantum_rerank.atomic import staged_folder
from quantum_rerank.embeddings import Role, TextEncoder
from quantum_rerank.errors import BundleError, DataError
from quantum_rerank.export import ExportedModel, export_model
from quantum_rerank.export.qasm import circuit_qasm
from quantum_rerank.export.trained_model import (
    ModelEncoder,
    TrainedModel,
    require_same_data,
    require_same_encoder,
    require_same_vectors,
)
from quantum_rerank.paths import require_exists
from quantum_rerank.records import read_record
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.run_record import RUN_FILE
from quantum_rerank.training.run_results import BEST_MODELS, METRICS_FILE

QASM_FILE = "circuit-{:02d}.qasm"


def is_search(folder: Path) -> bool:
    """Return whether a folder is the run of a search, whose record names the search space."""
    path = folder / RUN_FILE
    return path.is_file() and "space" in read_record(path)


def best_model_path(folder: Path, model: str) -> Path:
    """Return the file with the best epoch of a model of a training run.

    Raises:
        BundleError: The run has no such model.
    """
    path = folder / BEST_MODELS / f"{model}.safetensors"
    require_exists(folder, BundleError)
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.safetensors"))
        way_out = f"It has {', '.join(names)}." if names else "Pass the folder of a training."
        raise BundleError(f"`{folder}` has no weights of `{model}`. {way_out}")
    return path


def export_bundle(output: Path, model: TrainedModel, origin: Path, encoder: ModelEncoder) -> None:
    """Write a model as a bundle, with examples from the collections of its training.

    Args:
        output: New folder for the bundle.
        model: Trained model.
        origin: Path that the model was loaded from; test metrics are read from a run's folder.
        encoder: Encoder of the examples.

    Raises:
        BundleError: The encoder or its vectors are not those of the training.
        DataError: The collections are not those of the training.
        OutputError: The folder cannot be written.
    """
    config, record = model.config, _metrics(origin)
    model = replace(
        model,
        data_fingerprint=model.data_fingerprint or record.get("data_fingerprint", ""),
        metrics={**_test_metrics(record, config.model), **model.metrics},
    )
    require_same_encoder(model, encoder)
    prepared = prepare(config.data, encoder.source)
    require_same_vectors(model, prepared.encoder_fingerprint, encoder)
    way_out = "Restore the collections that it was trained on."
    require_same_data(model, prepared.fingerprint, way_out)
    exported = ExportedModel(
        head=model.head,
        config=config,
        fusion_weight=model.fusion_weight,
        encoder_fingerprint=encoder.source.fingerprint,
        data_fingerprint=prepared.fingerprint,
        metrics=model.metrics,
        examples=prepared.examples,
        lexicon=prepared.lexicon,
        training={**asdict(model.training_summary), "seeds": asdict(model.seeds)},
    )
    export_model(output, exported)


def _metrics(folder: Path) -> dict[str, Any]:
    """Return `metrics.json` of a training run; empty if the folder has none."""
    path = folder / METRICS_FILE
    return read_record(path) if path.is_file() else {}


def _test_metrics(record: Mapping[str, Any], model: str) -> dict[str, dict[str, float]]:
    """Return role -> means of a model over the test queries, from `metrics.json`."""
    roles = ("test", "unseen_test")
    return {role: record[role][model] for role in roles if model in record.get(role, {})}


def export_circuits(
    output: Path, model: TrainedModel, texts: Sequence[str], encoder: ModelEncoder, role: Role
) -> list[str]:
    """Write the circuit of each text as an OpenQASM 2 program.

    Args:
        output: New folder for the programs.
        model: Trained model with a circuit.
        texts: Texts to prepare the states of.
        encoder: Encoder of the texts.
        role: Role of the texts, for encoders that embed queries and documents differently.

    Returns:
        Warnings about texts that the encoder does not read in full.

    Raises:
        DataError: The model was trained on vectors, so that it cannot embed a text.
        BundleError: The encoder is not that of the training.
    """
    source = encoder.source
    if not isinstance(source, TextEncoder):
        raise DataError(
            "The model was trained on precomputed vectors, and cannot embed a text. "
            "Call `quantum_rerank.export.qasm.circuit_qasm` with a vector."
        )
    require_same_encoder(model, encoder)
    vectors = source.encode(texts, role=role)
    warnings = source.coverage(texts, role=role).warnings(role)
    with staged_folder(output) as folder:
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True), start=1):
            comment = f"// {' '.join(text.split())}\n"
            content = comment + circuit_qasm(model.head, vector)
            (folder / QASM_FILE.format(number)).write_text(content, encoding="utf-8")
    return list(warnings)
