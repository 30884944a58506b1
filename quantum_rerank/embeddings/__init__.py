"""Frozen text embeddings: encoders by name, folders of vectors, a cache on disk."""

from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.encoder import (
    EmbeddingSource,
    TextEncoder,
    embedding_source,
    unit_rows,
)
from quantum_rerank.embeddings.equal_rows import first_equal
from quantum_rerank.embeddings.examples import ExampleTexts
from quantum_rerank.embeddings.mapped import blocks, take

__all__ = [
    "EmbeddingSource",
    "Embeddings",
    "ExampleTexts",
    "TextEncoder",
    "blocks",
    "embedding_source",
    "first_equal",
    "take",
    "unit_rows",
]
