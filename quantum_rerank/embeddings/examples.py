"""Texts beside their vectors, small enough to travel with a model."""

from __future__ import annotations

from dataclasses import dataclass

from quantum_rerank.embeddings.cache import Embeddings


@dataclass(frozen=True)
class ExampleTexts:
    """A query and some documents, by which an exported model can be checked.

    query_vector: (dim,).  document_vectors: (n, dim), one per document.
    """

    query: str
    query_vector: Embeddings
    documents: tuple[str, ...]
    document_vectors: Embeddings
