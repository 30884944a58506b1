"""Frozen text embeddings: encoders by name, folders of vectors, a cache on disk."""

from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.encoder import EmbeddingSource, TextEncoder, embedding_source

__all__ = ["EmbeddingSource", "Embeddings", "TextEncoder", "embedding_source"]
