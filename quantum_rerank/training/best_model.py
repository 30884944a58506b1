"""The best epoch of a training as bytes: weights, validation and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from quantum_rerank.config import ExperimentConfig, build_config
from quantum_rerank.errors import BundleError
from quantum_rerank.similarity import Head, build_head
from quantum_rerank.training.ranking import Validation
from quantum_rerank.training.serialization import dumps, loads, refuse_other_maker
from quantum_rerank.training.trainer import BestModel

_MADE_BY = "made_by"  # key of the record


def best_model_bytes(
    best: BestModel,
    config: ExperimentConfig,
    embedding_dim: int,
    made_by: Mapping[str, Any] | None = None,
) -> bytes:
    """Write the best epoch down.

    Args:
        made_by: which training it is of, for `read_best_model` to compare; JSON knows all of it.
    """
    values = {"config": config.model_dump(mode="json"), _MADE_BY: dict(made_by or {})}
    return dumps({**asdict(best), "embedding_dim": embedding_dim, **values})


def read_best_model(
    content: bytes, name: str, made_by: Mapping[str, Any] | None = None
) -> tuple[Head, Validation, ExperimentConfig, int]:
    """Read a checkpoint: the head, its validation, its configuration, and its epoch.

    name: what it is called in an error.
    made_by: what it has to say of the training that it is of; None: whatever it says.
    Raises: BundleError if it was cut off or altered, does not fit together, or is of another
        training.
    """
    record = loads(content, name)
    if made_by is not None:
        refuse_other_maker(record.get(_MADE_BY), made_by, name)
    try:
        config = build_config(record["config"])
        head = build_head(config.resolved(), record["embedding_dim"])
        head.load_state_dict(record["head"])
        validation = Validation(**record["validation"])
    except Exception as error:  # pydantic and torch each have their own kinds
        raise BundleError(f"{name} cannot be read: {error}.") from None
    return head.eval(), validation, config, int(record["epoch"])


def maker_of(content: bytes, name: str) -> dict[str, Any]:
    """Read what a checkpoint says of the training that it is of.

    Raises: BundleError if it was cut off or altered, or says nothing.
    """
    said = loads(content, name).get(_MADE_BY)
    refuse_other_maker(said, {}, name)
    return dict(said or {})
