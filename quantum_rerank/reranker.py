"""Use an exported model: `Reranker.load("best").rank(query, documents, top_k=10)`.

For documents that are searched more than once, `index` keeps what does not depend on the query.

Needs neither Ray, Optuna nor Weights & Biases.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from quantum_rerank.arguments import as_limit, as_rows, as_text, as_texts, as_vectors
from quantum_rerank.atomic import require_free
from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.embeddings import (
    Embeddings,
    EncoderSettings,
    Role,
    TextEncoder,
    first_equal,
    unit_rows,
)
from quantum_rerank.errors import BundleError, DataError, EmbeddingError, EncoderWarning
from quantum_rerank.export import Manifest, bundle_in, read_bundle
from quantum_rerank.forks import prepare_for_forks
from quantum_rerank.paths import as_path
from quantum_rerank.similarity import Head, represent, score, score_represented


@dataclass(frozen=True)
class Ranked:
    """A document in its new place.

    index: its position in the list that was given.
    score: (1 - w) cosine + w affinity, at most 1.
    """

    index: int
    document: str
    score: float


@dataclass(frozen=True)
class RankedRow:
    """A document of an index in its new place.

    row: its position among the documents that were indexed.
    score: as of `Ranked`.
    """

    row: int
    score: float


class Reranker:
    """Scores documents against a query.

    Queries and documents are embedded as in training, with the same prompts. Where the encoder
    cuts a text, or does not know most of its characters, an `EncoderWarning` says so.

    Wherever a method takes several documents, rows or vectors, it takes what holds them: a list,
    a generator, an array, or a column of a table, which is read by position. Equal documents get
    the same score within a call.
    """

    def __init__(
        self,
        head: Head,
        manifest: Manifest,
        encoder: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        batch_size: int = 32,
    ) -> None:
        prepare_for_forks()
        data = manifest.config.data
        self.manifest = manifest
        self._head = head.eval()
        settings = EncoderSettings(data.query_prompt, data.document_prompt, device, batch_size)
        self._encoder = TextEncoder(os.fspath(encoder or data.encoder), settings=settings)

    def __repr__(self) -> str:
        config = self.manifest.config
        return (
            f"{type(self).__name__}(model={config.model!r}, encoder={self._encoder.name!r}, "
            f"embedding_dim={self.manifest.embedding_dim}, "
            f"fusion_weight={self.manifest.fusion_weight:g})"
        )

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        engine: str | None = None,
        encoder: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        batch_size: int = 32,
    ) -> Reranker:
        """Load a bundle, or the one in the folder of a training or of a search.

        A process that is forked from this one later can use the model too, with a single thread.

        engine: takes the place of the one trained with; all score the same to 1e-6.
        encoder: the name or folder of the encoder trained with, where it is called otherwise
            than in training; another one is refused when a text is embedded.
        device: where the encoder runs, as torch names it (`cuda`, `cuda:1`, `mps`), or `auto`
            for the fastest there is. The default is the CPU whatever the training ran on, so
            that a bundle gives the same scores on every machine.
        batch_size: texts that the encoder takes at once.
        Raises: BundleError if the folder does not exist, or a file in it is missing, cut off,
            altered, or of another version; ConfigError if there is no such engine;
            EmbeddingError if there is no such device.
        """
        bundle = read_bundle(bundle_in(as_path(folder, "folder")), engine)
        return cls(*bundle, encoder, device, batch_size)

    def rank(self, query: str, documents: Iterable[str], top_k: int | None = None) -> list[Ranked]:
        """Order documents by relevance, best first, ties as given.

        Returns: at most `top_k` documents, all where it is None or larger than their
        number; an empty list for no documents.
        Raises: DataError if the query has no text, a document is no text, `documents` is a
            mapping, a table or a set, or top_k is no integer or below 1.
        """
        limit, texts = as_limit(top_k), as_texts(documents)
        scores = self.scores(query, texts)
        order = np.argsort(-scores, kind="stable")[:limit]
        return [Ranked(int(i), texts[i], float(scores[i])) for i in order]

    def scores(self, query: str, documents: Iterable[str]) -> NDArray[np.float64]:
        """Relevance of each document, in the order given, (len(documents),)."""
        asked, texts = _query(query), as_texts(documents)
        if not texts:
            return np.empty(0)
        return self.scores_of_embeddings(self._encode_query(asked), self._encode(texts))

    def scores_of_embeddings(self, query: ArrayLike, documents: ArrayLike) -> NDArray[np.float64]:
        """The same for vectors of the encoder that the model was trained with.

        query: (dim,), documents: (n, dim), of any length and any type of real number.
        Raises: EmbeddingError if a shape is wrong, or a vector is not finite or all zero.
        """
        expected = self.manifest.embedding_dim
        asked, vectors = as_vectors(query, "query"), _rows_of(documents, expected)
        if asked.shape != (expected,) or vectors.shape[1:] != (expected,):
            raise EmbeddingError(
                f"The vectors have the shapes {asked.shape} and {vectors.shape}, but must "
                f"be ({expected},) and (n, {expected})."
            )
        # Each vector once: what a score is rounded to depends on its place among the others.
        distinct, places = np.unique(first_equal(vectors), return_inverse=True)
        unit = unit_rows(vectors[distinct], "documents")
        return score(self._head, self.manifest.fusion_weight, _unit_query(asked), unit)[places]

    def index(
        self,
        documents: Iterable[str],
        folder: str | os.PathLike[str],
        show_progress_bar: bool = False,
    ) -> DocumentIndex:
        """Encode documents and keep their vectors and states in a folder.

        show_progress_bar: whether the progress of encoding is shown on standard error.
        Raises: OutputError if the folder exists already or cannot be written; DataError if a
            document is no text, or `documents` is a mapping, a table or a set.
        """
        place, texts = as_path(folder, "folder"), as_texts(documents)
        require_free(place)  # before a corpus is encoded in vain
        vectors = self._encode(texts, show_progress_bar=show_progress_bar)
        return self.index_embeddings(vectors, place)

    def index_embeddings(
        self, embeddings: ArrayLike, folder: str | os.PathLike[str]
    ) -> DocumentIndex:
        """The same for vectors of the encoder that the model was trained with.

        embeddings: (n, dim), of any length and any type of real number; they may be a mapped
            file.
        """
        expected = self.manifest.embedding_dim
        vectors = _rows_of(embeddings, expected)
        if vectors.shape[1:] != (expected,):
            raise EmbeddingError(
                f"The vectors have the shape {vectors.shape}, but must be (n, {expected})."
            )
        place = as_path(folder, "folder")
        return DocumentIndex.build(place, self._head, self._bundle_sha256(), vectors)

    def open_index(self, folder: str | os.PathLike[str]) -> DocumentIndex:
        """Open what `index` has written with this model, by any engine.

        Raises: BundleError if it was made with another model, or if a file is missing, cut
            off, damaged, or of another version.
        """
        return DocumentIndex.open(as_path(folder, "folder"), self._bundle_sha256())

    def rank_indexed(
        self,
        query: str,
        index: DocumentIndex,
        rows: Iterable[int] | None = None,
        top_k: int | None = None,
    ) -> list[RankedRow]:
        """Order documents of an index by relevance, best first, ties as given.

        rows: the candidates, or None for all documents.
        Returns: at most `top_k` of them.
        Raises: DataError if the query has no text, top_k is no integer or below 1, `rows` holds
            anything but integers, or a row is not in the index.
        """
        limit, asked = as_limit(top_k), _query(query)
        candidates = None if rows is None else as_rows(rows)
        scores = self.scores_of_indexed(self._encode_query(asked), index, candidates)
        order = np.argsort(-scores, kind="stable")[:limit]
        numbers = order if candidates is None else candidates[order]
        return [
            RankedRow(int(row), float(scores[i])) for row, i in zip(numbers, order, strict=True)
        ]

    def scores_of_indexed(
        self, query: ArrayLike, index: DocumentIndex, rows: Iterable[int] | None = None
    ) -> NDArray[np.float64]:
        """Relevance of documents of an index, in the order of `rows`, or of all.

        query: (dim,), of any length.
        """
        vector = as_vectors(query, "query")
        if vector.shape != (self.manifest.embedding_dim,):
            raise EmbeddingError(
                f"The query's vector has the shape {vector.shape}, but must be "
                f"({self.manifest.embedding_dim},)."
            )
        if index.bundle_sha256 != self._bundle_sha256():
            raise BundleError("The index was made with another model. Open it with `open_index`.")
        unit = _unit_query(vector)
        if rows is not None:
            distinct, places = np.unique(index.first_rows(rows), return_inverse=True)
            return self._scores_of_rows(unit, index, distinct)[places]
        scores = self._scores_of_rows(unit, index, None)
        repeated, first = index.duplicates.T
        scores[repeated] = scores[first]
        return scores

    def _scores_of_rows(
        self, query: Embeddings, index: DocumentIndex, rows: NDArray[np.intp] | None
    ) -> NDArray[np.float64]:
        """Relevance of rows, or of all, to a query of length 1."""
        asked, weight = represent(self._head, query[None, :]), self.manifest.fusion_weight
        scores = [
            score_represented(self._head, weight, query, asked, vectors, torch.tensor(states))
            for vectors, states in index.blocks(rows)
        ]
        return np.concatenate([np.empty(0), *scores])

    def _bundle_sha256(self) -> str:
        if not self.manifest.sha256:
            raise BundleError(
                "This model was not read from a bundle, so that an index could not tell it from "
                "others. Export it, and use `Reranker.load`."
            )
        return self.manifest.sha256

    def _encode_query(self, query: str) -> Embeddings:
        """(dim,), of length 1."""
        vector: Embeddings = self._encode([query], Role.QUERY)[0]
        return vector

    def _encode(
        self, texts: Sequence[str], role: Role = Role.DOCUMENT, show_progress_bar: bool = False
    ) -> Embeddings:
        encoder = self._checked_encoder()
        vectors = encoder.encode(texts, role=role, show_progress_bar=show_progress_bar)
        for message in encoder.coverage(texts, role=role).warnings(role):
            _warn(message)
        return vectors

    def _checked_encoder(self) -> TextEncoder:
        if self._encoder.name.startswith("npy:"):
            raise EmbeddingError(
                "This model was trained on vectors that were computed elsewhere. "
                "Call `scores_of_embeddings` with vectors of the same encoder."
            )
        if self._encoder.fingerprint != self.manifest.encoder_fingerprint:
            raise BundleError(
                f"The encoder here is `{self._encoder.fingerprint}`, but the model was trained "
                f"with `{self.manifest.encoder_fingerprint}`. Install the same one, or name it "
                "with `encoder`."
            )
        return self._encoder


def _warn(message: str) -> None:
    """Warn at the line that called this module."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_code.co_filename == __file__:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, EncoderWarning, stacklevel=level)


def _unit_query(query: NDArray[Any]) -> Embeddings:
    vector: Embeddings = unit_rows(query[None, :], "query")[0]
    return vector


def _rows_of(vectors: ArrayLike, width: int) -> NDArray[Any]:
    """Vectors of documents as an array; an empty list is that of no documents."""
    array = as_vectors(vectors, "documents")
    return np.empty((0, width), dtype=np.float32) if array.shape == (0,) else array


def _query(query: str) -> str:
    text = as_text(query, "The query")
    if not text.strip():
        raise DataError("The query has no text.")
    return text
