"""Models that are built for weights from a file, which may come from anybody."""

from __future__ import annotations

import torch

from quantum_rerank.errors import ConfigError
from quantum_rerank.similarity.config import ModelConfig
from quantum_rerank.similarity.heads import Head, build_head
from quantum_rerank.similarity.size import declared_weights


def build_for_weights(config: ModelConfig, embedding_dim: int, n_bytes: int) -> Head:
    """Build a model whose weights are to be loaded, if they can be in a file of some size.

    Args:
        config: The model's name and sections; `circuit.engine` is resolved.
        embedding_dim: Width of the text embeddings.
        n_bytes: Size of the file.

    Raises:
        ConfigError: There is no such model, it is too large, or larger than the file.
    """
    declared = declared_weights(config, embedding_dim)
    if declared > n_bytes:
        raise ConfigError(f"{declared:,} weights are declared, but the file has {n_bytes:,} bytes")
    return build_head(config, embedding_dim)


def require_usable(head: Head) -> None:
    """Check the weights of a model.

    Raises:
        ValueError: A weight is NaN or infinite, or a gate has no queries to measure distances by.
    """
    for name, tensor in head.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"`{name}` has numbers that are not finite")
    if head.gate is not None and head.gate.is_chosen and not len(head.gate.queries):
        raise ValueError("the gate has no training queries")
