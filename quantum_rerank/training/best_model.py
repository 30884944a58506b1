"""Serialization of the best epoch of a training: weights, validation and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from quantum_rerank.config import ExperimentConfig, build_config
from quantum_rerank.errors import BundleError
from quantum_rerank.regular_files import reason
from quantum_rerank.similarity import Head, build_for_weights, require_usable
from quantum_rerank.training.serialization import dumps, loads, require_maker
from quantum_rerank.training.trainer import BestModel
from quantum_rerank.training.validation import Validation, checked_validation

_MADE_BY = "made_by"  # key of the training's identity


def best_model_bytes(
    best: BestModel,
    config: ExperimentConfig,
    embedding_dim: int,
    made_by: Mapping[str, Any] | None = None,
) -> bytes:
    """Serialize the best epoch of a training.

    Args:
        best: Weights and validation of the epoch.
        config: Configuration of the training.
        embedding_dim: Width of the vectors.
        made_by: Identity of the training, which `read_best_model` compares. JSON values.
    """
    values = {"config": config.model_dump(mode="json"), _MADE_BY: dict(made_by or {})}
    return dumps({**asdict(best), "embedding_dim": embedding_dim, **values})


def read_best_model(
    content: bytes, name: str, made_by: Mapping[str, Any] | None = None
) -> tuple[Head, Validation, ExperimentConfig, int]:
    """Read the best epoch of a training.

    Args:
        content: Bytes of `best_model_bytes`.
        name: Name of the file for error messages.
        made_by: Expected identity of the training, or None to accept any.

    Returns:
        The head in evaluation mode, its validation, its configuration, and its epoch.

    Raises:
        BundleError: The bytes were cut off or altered, are inconsistent, or are of another
            training.
    """
    record = loads(content, name)
    require_maker(record.get(_MADE_BY), made_by, name)
    try:
        config = build_config(record["config"])
        embedding_dim = int(record["embedding_dim"])
        head = build_for_weights(config.resolved(), embedding_dim, len(content))
        head.load_state_dict(record["head"])
        require_usable(head)
        validation = checked_validation(record["validation"])
        epoch = int(record["epoch"])
    except Exception as error:  # pydantic and torch each have their own kinds
        raise BundleError(f"{name} cannot be read: {reason(error)}.") from None
    return head.eval(), validation, config, epoch


def maker_of(content: bytes, name: str) -> dict[str, Any]:
    """Read the identity of the training that wrote a best epoch.

    Args:
        content: Bytes of `best_model_bytes`.
        name: Name of the file for error messages.

    Raises:
        BundleError: The bytes were cut off or altered, or have no identity.
    """
    recorded = loads(content, name).get(_MADE_BY)
    require_maker(recorded, {}, name)
    return dict(recorded or {})
