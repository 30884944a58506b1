"""Encoders of text with a cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quantum_rerank.arguments import as_texts
from quantum_rerank.datasets import Collection
from quantum_rerank.datasets.collection import MAX_CHARACTERS
from quantum_rerank.datasets.text_files import is_encodable, shortened
from quantum_rerank.embeddings.cache import (
    EmbeddingCache,
    Embeddings,
    cache_key,
    default_cache_folder,
)
from quantum_rerank.embeddings.coverage import Coverage
from quantum_rerank.embeddings.fingerprint import EncoderFingerprint
from quantum_rerank.embeddings.memory import require_room
from quantum_rerank.embeddings.model_lookup import text_model
from quantum_rerank.embeddings.progress import EmbeddingProgress
from quantum_rerank.embeddings.settings import EncoderSettings, Role, require_device
from quantum_rerank.embeddings.unit_rows import normalised
from quantum_rerank.errors import EmbeddingError

_CHUNK = 128  # least number of texts between two steps of the progress bar


class TextEncoder:
    """A text model with a cache of its vectors.

    Args:
        name: Name of the encoder.
        cache_folder: Folder of cached vectors. Defaults to `default_cache_folder()`.
        settings: Settings of the encoder. Defaults to `EncoderSettings()`.

    Raises:
        EmbeddingError: torch cannot use the device of the settings.
    """

    def __init__(
        self,
        name: str,
        cache_folder: Path | None = None,
        settings: EncoderSettings | None = None,
    ) -> None:
        self.name = name
        self._cache_folder = cache_folder
        self._settings = settings or EncoderSettings()
        self._model = text_model(name, self._settings)
        self._fingerprint = EncoderFingerprint(self._model, self._settings)
        require_device(self._settings.device)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's files and prompts, see `EncoderFingerprint`."""
        return self._fingerprint.value

    def embed(self, collection: Collection) -> tuple[Embeddings, Embeddings]:
        """See `EmbeddingSource.embed`.

        Raises:
            EmbeddingError: See `encode`.
        """
        # The corpus comes first, since it may not fit into memory.
        documents = self.encode(*_documents(collection), role=Role.DOCUMENT)
        return self.encode(*_queries(collection), role=Role.QUERY), documents

    def unread(self, collection: Collection) -> dict[str, int]:
        """See `EmbeddingSource.unread`; the counts are cached."""
        documents = self.coverage(*_documents(collection), role=Role.DOCUMENT)
        queries = self.coverage(*_queries(collection), role=Role.QUERY)
        return documents.counts(Role.DOCUMENT) | queries.counts(Role.QUERY)

    def encode(
        self,
        texts: Sequence[str],
        label: str | None = None,
        role: Role = Role.DOCUMENT,
        show_progress_bar: bool | None = None,
    ) -> Embeddings:
        """Embed texts of one role.

        Args:
            texts: At least one text.
            label: Name of the texts in the progress bar. With a label the result is cached and
                the progress is shown.
            role: Role of the texts; some encoders embed queries and documents differently.
            show_progress_bar: Overrides the settings, and the effect of the label.

        Returns:
            (n, dim) float32, each row of length 1.

        Raises:
            EmbeddingError: There are no texts, or a text has no vector.
            DataError: `texts` is not a list of texts.
        """
        if not (texts := as_texts(texts, "texts")):
            raise EmbeddingError("There are no texts to embed. Give at least one.")
        if broken := next((text for text in texts if not is_encodable(text)), None):
            raise EmbeddingError(
                f"{shortened(broken)} has half a surrogate pair, which is not Unicode. Correct it."
            )
        if show_progress_bar is None:
            show_progress_bar = label is not None and self._settings.show_progress_bar
        progress = EmbeddingProgress(label or "texts", show_progress_bar)
        if label is None:
            return self._encode_distinct(texts, role, progress)
        vectors = self._cache().get_or_compute(
            self._key(texts, role), lambda: self._encode_distinct(texts, role, progress)
        )
        return normalised(vectors, label)

    def coverage(
        self, texts: Sequence[str], label: str | None = None, role: Role = Role.DOCUMENT
    ) -> Coverage:
        """Count the texts that the encoder does not read in full.

        Args:
            texts: Texts of one role.
            label: With a label the result is cached.
            role: Role of the texts.
        """

        def count() -> Coverage:
            return self._model.coverage([text[:MAX_CHARACTERS] for text in texts], role)

        return self._cache().get_or_count(self._key(texts, role), count) if label else count()

    def _cache(self) -> EmbeddingCache:
        return EmbeddingCache(self._cache_folder or default_cache_folder())

    def _key(self, texts: Sequence[str], role: Role) -> str:
        return cache_key(self._fingerprint.of_role(role), texts)

    def _encode_distinct(
        self, texts: Sequence[str], role: Role, progress: EmbeddingProgress
    ) -> Embeddings:
        """Embed each distinct text once: in two batches its last digits would differ."""
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self._encode_all(list(rows), role, progress)
        return vectors if len(rows) == len(texts) else vectors[[rows[text] for text in texts]]

    def _encode_all(
        self, texts: Sequence[str], role: Role, progress: EmbeddingProgress
    ) -> Embeddings:
        with progress.shown() as track:
            width = self._model.width
            require_room(len(texts), width, progress.label)
            embeddings = np.empty((len(texts), width), dtype=np.float32)
            # Batches of texts of similar length have the least padding.
            order = np.argsort([-len(text) for text in texts], kind="stable")
            chunk = _CHUNK + -_CHUNK % self._settings.batch_size  # whole batches
            for start in track(range(0, len(texts), chunk)):
                rows = order[start : start + chunk]
                embeddings[rows] = self._vectors([texts[row] for row in rows], role)
        return normalised(embeddings, progress.label)

    def _vectors(self, texts: list[str], role: Role) -> Embeddings:
        """Return vectors of some texts; EmbeddingError if one has no direction."""
        vectors = self._model.vectors([text[:MAX_CHARACTERS] for text in texts], role)
        usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
        if not usable.all():
            first = texts[int(np.argmin(usable))]
            raise EmbeddingError(
                f"The encoder `{self.name}` gives NaN, infinity or only zeros for "
                f"{shortened(first)}. Remove this text, or choose another encoder."
            )
        return vectors


def _documents(collection: Collection) -> tuple[list[str], str]:
    """Return the texts of the corpus, and their label."""
    return list(collection.corpus.values()), f"{collection.domain} corpus"


def _queries(collection: Collection) -> tuple[list[str], str]:
    """Return the texts of the queries, and their label."""
    return list(collection.queries.values()), f"{collection.domain} queries"
