"""Frozen text embeddings: encoders by name, precomputed vectors, and a cache on disk."""

from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.coverage import Coverage
from quantum_rerank.embeddings.encoder import TextEncoder
from quantum_rerank.embeddings.equal_rows import distinct_pairs, first_equal
from quantum_rerank.embeddings.examples import ExampleTexts
from quantum_rerank.embeddings.mapped import blocks, take
from quantum_rerank.embeddings.model_lookup import text_model
from quantum_rerank.embeddings.settings import EncoderSettings, Role
from quantum_rerank.embeddings.sources import EmbeddingSource, embedding_source, source_of
from quantum_rerank.embeddings.text_models import ENCODERS, TextModel
from quantum_rerank.embeddings.unit_rows import unit_rows

__all__ = [
    "ENCODERS",
    "Coverage",
    "EmbeddingSource",
    "Embeddings",
    "EncoderSettings",
    "ExampleTexts",
    "Role",
    "TextEncoder",
    "TextModel",
    "blocks",
    "distinct_pairs",
    "embedding_source",
    "first_equal",
    "source_of",
    "take",
    "text_model",
    "unit_rows",
]
