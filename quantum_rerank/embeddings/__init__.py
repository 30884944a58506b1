"""Frozen text embeddings: encoders by name, folders of vectors, a cache on disk."""

from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.encoder import EmbeddingSource, TextEncoder, embedding_source
from quantum_rerank.embeddings.examples import ExampleTexts

__all__ = ["EmbeddingSource", "Embeddings", "ExampleTexts", "TextEncoder", "embedding_source"]
