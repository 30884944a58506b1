"""Number of weights that a configuration declares, known before a model is built."""

from __future__ import annotations

from itertools import pairwise

from quantum_rerank.errors import ConfigError
from quantum_rerank.similarity.config import ModelConfig
from quantum_rerank.similarity.models import MODELS

MAX_DECLARED = 2**27
"""Most weights of a model that is built: 512 MiB as float32."""

MAX_DIMENSION = 2**16
"""Widest embedding."""

MAX_DISCRIMINANT = 2**12
"""Widest embedding of a discriminant, whose eigenvectors take minutes there."""


def declared_weights(config: ModelConfig, embedding_dim: int) -> int:
    """Return the number of weights of a model's matrices, at least, from its components.

    Args:
        config: The model's name and sections.
        embedding_dim: Width of the text embeddings.
    """
    head = MODELS[MODELS.check(config.model)]
    weights = 0
    if "mlp" in head.components:
        widths = (embedding_dim, *config.mlp.hidden_layers, head.n_outputs(config))
        weights += sum(left * right for left, right in pairwise(widths))
        if config.mlp.linear_path != "none":
            weights += embedding_dim * head.n_outputs(config)
    elif "circuit" in head.components:
        weights += embedding_dim * config.circuit.ansatz.n_angles
    if "linear" in head.components:
        weights += embedding_dim * config.linear.rank
    return weights


def require_size(config: ModelConfig, embedding_dim: int) -> None:
    """Check the size of a model before memory is taken for it.

    Raises:
        ConfigError: The embeddings have no width or are too wide, or the model is too large.
    """
    if not 1 <= embedding_dim <= MAX_DIMENSION:
        raise ConfigError(
            f"The embeddings have {embedding_dim} dimensions, but must have 1 to {MAX_DIMENSION:,}."
        )
    if embedding_dim > MAX_DISCRIMINANT and _has_discriminant(config):
        raise ConfigError(
            f"The embeddings have {embedding_dim:,} dimensions, but a discriminant is computed for "
            f"{MAX_DISCRIMINANT:,} at most. Set `mlp.linear_path: none`, and another `model` than "
            "`discriminant`."
        )
    declared = declared_weights(config, embedding_dim)
    if declared > MAX_DECLARED:
        raise ConfigError(
            f"The model `{config.model}` would have {declared:,} weights for embeddings of "
            f"{embedding_dim} dimensions, but the limit is {MAX_DECLARED:,}. Make "
            "`mlp.hidden_layers` or `linear.rank` smaller."
        )


def _has_discriminant(config: ModelConfig) -> bool:
    has_path = config.mlp.linear_path != "none" and "mlp" in MODELS[config.model].components
    return config.model == "discriminant" or has_path
