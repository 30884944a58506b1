"""Frozen text embeddings: encoders by name, folders of vectors, a cache on disk."""

from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.encoder import (
    EmbeddingSource,
    TextEncoder,
    embedding_source,
    source_of,
    unit_rows,
)
from quantum_rerank.embeddings.equal_rows import first_equal
from quantum_rerank.embeddings.examples import ExampleTexts
from quantum_rerank.embeddings.mapped import blocks, take
from quantum_rerank.embeddings.settings import EncoderSettings, Role

__all__ = [
    "EmbeddingSource",
    "Embeddings",
    "EncoderSettings",
    "ExampleTexts",
    "Role",
    "TextEncoder",
    "blocks",
    "embedding_source",
    "first_equal",
    "source_of",
    "take",
    "unit_rows",
]
