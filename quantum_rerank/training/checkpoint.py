"""The best epoch of a training as bytes: weights, validation and configuration."""

from __future__ import annotations

from dataclasses import asdict

from quantum_rerank.config import ExperimentConfig, build_config
from quantum_rerank.errors import BundleError
from quantum_rerank.similarity import Head, build_head
from quantum_rerank.training.ranking import Validation
from quantum_rerank.training.sealed import seal, unseal
from quantum_rerank.training.trainer import BestModel


def checkpoint_bytes(best: BestModel, config: ExperimentConfig, embedding_dim: int) -> bytes:
    """Write the best epoch down."""
    config_values = config.model_dump(mode="json")
    return seal({**asdict(best), "embedding_dim": embedding_dim, "config": config_values})


def read_checkpoint(content: bytes, name: str) -> tuple[Head, Validation, ExperimentConfig, int]:
    """Read a checkpoint: the head, its validation, its configuration, and its epoch.

    name: what it is called in an error.
    Raises: BundleError if it was cut off or altered, or does not fit together.
    """
    record = unseal(content, name)
    try:
        config = build_config(record["config"])
        head = build_head(embedding_dim=record["embedding_dim"], **config.head_arguments())
        head.load_state_dict(record["head"])
        validation = Validation(**record["validation"])
    except Exception as error:  # pydantic and torch each have their own kinds
        raise BundleError(f"{name} cannot be read: {error}.") from None
    return head.eval(), validation, config, int(record["epoch"])
