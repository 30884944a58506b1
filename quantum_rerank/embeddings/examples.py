"""Texts with their vectors, few enough to be part of a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from quantum_rerank.embeddings.cache import Embeddings


@dataclass(frozen=True)
class ExampleTexts:
    """A query and some documents, by which an exported model can be checked.

    Attributes:
        query: Text of the query.
        query_vector: (dim,) float32.
        documents: Texts of the documents.
        document_vectors: (n, dim) float32, one per document.
    """

    query: str
    query_vector: Embeddings
    documents: tuple[str, ...]
    document_vectors: Embeddings
