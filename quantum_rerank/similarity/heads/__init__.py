"""The models of every comparison: affinities of text embeddings.

All models stand behind one interface, so that nothing else depends on which of them is trained.
A new model is one class and one entry of MODELS in `similarity/models.py`, and joins the
conformance suite.
"""

from __future__ import annotations

from quantum_rerank.similarity.config import ModelConfig
from quantum_rerank.similarity.gate import NearestGate
from quantum_rerank.similarity.heads.head import Head
from quantum_rerank.similarity.lexical_part import LexicalPart
from quantum_rerank.similarity.models import MODELS
from quantum_rerank.similarity.size import require_size


def build_head(config: ModelConfig, embedding_dim: int) -> Head:
    """Build the head of a model, its weights drawn from torch's global generator.

    Args:
        config: The model's name and sections; `circuit.engine` is resolved, not `auto`.
        embedding_dim: Width of the text embeddings.

    Raises:
        ConfigError: No model, or no engine, has the configured name, or the model is too large.
    """
    require_size(config, embedding_dim)
    head = MODELS[MODELS.check(config.model)](config, embedding_dim)
    if config.fusion.gate == "nearest":
        head.gate = NearestGate(embedding_dim)
    if config.has_lexical_part:
        head.lexical = LexicalPart()
    return head


__all__ = ["Head", "build_head"]
