"""Use an exported model: `Reranker.load("best").rank(query, documents, top_k=10)`.

Needs neither Ray, Optuna nor Weights & Biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.embeddings import Embeddings, TextEncoder
from quantum_rerank.errors import BundleError, DataError, EmbeddingError
from quantum_rerank.export import Manifest, read_bundle
from quantum_rerank.similarity import Head, score


@dataclass(frozen=True)
class Ranked:
    """A document in its new place.

    index: its position in the list that was given.
    score: (1 - w) cosine + w affinity, at most 1.
    """

    index: int
    document: str
    score: float


class Reranker:
    """Scores documents against a query."""

    def __init__(self, head: Head, manifest: Manifest) -> None:
        self.manifest = manifest
        self._head = head.eval()
        self._encoder = TextEncoder(manifest.config.data.encoder)

    @classmethod
    def load(cls, folder: str | Path) -> Reranker:
        """Load a bundle.

        Raises: BundleError if a file is missing, cut off, altered, or of another version.
        """
        return cls(*read_bundle(Path(folder)))

    def rank(self, query: str, documents: Sequence[str], top_k: int | None = None) -> list[Ranked]:
        """Order documents by relevance, best first, ties as given.

        Returns: at most `top_k` documents, all where it is None or larger than their
        number; an empty list for no documents.
        Raises: DataError if the query has no text or top_k is below 1.
        """
        if top_k is not None and top_k < 1:
            raise DataError(f"`top_k` is {top_k}, but must be at least 1, or None for all.")
        scores = self.scores(query, documents)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [Ranked(int(i), documents[i], float(scores[i])) for i in order]

    def scores(self, query: str, documents: Sequence[str]) -> NDArray[np.float64]:
        """Relevance of each document, in the order given, (len(documents),)."""
        if not query.strip():
            raise DataError("The query has no text.")
        if not documents:
            return np.empty(0)
        encoder = self._checked_encoder()
        return self.scores_of_embeddings(encoder.encode([query])[0], encoder.encode(documents))

    def scores_of_embeddings(self, query: Embeddings, documents: Embeddings) -> NDArray[np.float64]:
        """The same for vectors of the encoder that the model was trained with.

        query: (dim,), documents: (n, dim), L2-normalised float32.
        """
        expected = self.manifest.embedding_dim
        if query.shape != (expected,) or documents.shape[1:] != (expected,):
            raise EmbeddingError(
                f"The vectors have the shapes {query.shape} and {documents.shape}, but must "
                f"be ({expected},) and (n, {expected})."
            )
        return score(self._head, self.manifest.fusion_weight, query, documents)

    def _checked_encoder(self) -> TextEncoder:
        if self._encoder.name.startswith("npy:"):
            raise EmbeddingError(
                "This model was trained on vectors that were computed elsewhere. "
                "Call `scores_of_embeddings` with vectors of the same encoder."
            )
        if self._encoder.fingerprint != self.manifest.encoder_fingerprint:
            raise BundleError(
                f"The encoder here is `{self._encoder.fingerprint}`, but the model was trained "
                f"with `{self.manifest.encoder_fingerprint}`. Install the same one."
            )
        return self._encoder
