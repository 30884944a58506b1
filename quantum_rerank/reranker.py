"""Rerank documents with an exported model.

    Reranker.load("best").rank("a query", ["a document", "another"], top_k=10)

For documents that are searched more than once, `Reranker.index` stores everything that does not
depend on the query. The module needs neither Ray, Optuna nor Weights & Biases.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from quantum_rerank.arguments import as_limit, as_rows, as_text, as_texts, as_vectors
from quantum_rerank.atomic import require_free
from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.embeddings import (
    Embeddings,
    EncoderSettings,
    Role,
    TextEncoder,
    distinct_pairs,
    first_equal,
    unit_rows,
)
from quantum_rerank.errors import BundleError, DataError, EmbeddingError, EncoderWarning
from quantum_rerank.export import Manifest, bundle_in, read_bundle
from quantum_rerank.forks import prepare_for_forks
from quantum_rerank.paths import as_path
from quantum_rerank.similarity import (
    Head,
    LexicalPart,
    gate_shares,
    represent,
    represent_query,
    score,
    score_represented,
)

_NEEDS_TEXTS = "The model fuses a lexical score, which is computed from texts: pass them too."


@dataclass(frozen=True)
class Ranked:
    """A ranked document.

    Attributes:
        index: The position of the document in the input.
        document: The text of the document.
        score: The relevance (1 - w) first stage + w affinity, at most 1.
    """

    index: int
    document: str
    score: float


@dataclass(frozen=True)
class RankedRow:
    """A ranked document of an index.

    Attributes:
        row: The position of the document in the index.
        score: The relevance (1 - w) first stage + w affinity, at most 1.
    """

    row: int
    score: float


class Reranker:
    """A model that scores and ranks documents for a query.

    Queries and documents are embedded as in training, with the same prompts. An `EncoderWarning`
    is issued where the encoder truncates a text or does not know most of its characters.

    Documents, rows and vectors can be passed as a list, a generator, an array, or a column of a
    table, which is read by position. Equal documents get the same score within a call.

    Use `Reranker.load` to create a reranker from a bundle.

    Args:
        head: The head of the model.
        manifest: The record of the model.
        encoder: The name or folder of the encoder. Default: the name used in training.
        device: The device of the encoder, such as `cpu`, `cuda:1`, `mps` or `auto`.
        batch_size: The number of texts that the encoder processes at once.

    Attributes:
        manifest: The record of the model, with its configuration and metrics.
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
        """Load a bundle, or the bundle in the folder of a training or of a search.

        Processes that are forked later can use the model too, each with a single thread.

        Args:
            folder: The folder of the bundle, training or search.
            engine: The circuit engine. Default: the engine used in training. The scores of all
                engines agree to 1e-6.
            encoder: Override the encoder name recorded at training time, for example with a
                folder. A different encoder is refused when the first text is embedded.
            device: The device of the encoder as torch names it (`cpu`, `cuda`, `cuda:1`, `mps`),
                or `auto` for the fastest available device. The default is the CPU, so that a
                bundle gives the same scores on every machine.
            batch_size: The number of texts that the encoder processes at once.

        Returns:
            The reranker.

        Raises:
            BundleError: The folder does not exist, or a file in it is missing, cut off, altered,
                or of another version.
            ConfigError: There is no such engine.
            EmbeddingError: There is no such device.
        """
        bundle = read_bundle(bundle_in(as_path(folder, "folder")), engine)
        return cls(*bundle, encoder, device, batch_size)

    def rank(self, query: str, documents: Iterable[str], top_k: int | None = None) -> list[Ranked]:
        """Rank documents by relevance to a query, best first.

        Args:
            query: The query.
            documents: The documents.
            top_k: The number of documents to return. Default: all.

        Returns:
            At most `top_k` documents. Documents with equal scores keep their order.

        Raises:
            BundleError: The encoder is not the one used in training.
            DataError: The query is empty, a document is not a text, `documents` is a mapping, a
                table or a set, or `top_k` is not an integer or is below 1.
            EmbeddingError: The model was trained on vectors that were computed elsewhere.
        """
        limit, texts = as_limit(top_k), as_texts(documents)
        scores = self.scores(query, texts)
        order = _best(scores, limit)
        return [Ranked(int(i), texts[i], float(scores[i])) for i in order]

    def scores(self, query: str, documents: Iterable[str]) -> NDArray[np.float64]:
        """Return the relevance of each document to a query.

        Args:
            query: The query.
            documents: The documents.

        Returns:
            (len(documents),) float64, in the order of the documents.

        Raises:
            BundleError: The encoder is not the one used in training.
            DataError: The query is empty, a document is not a text, or `documents` is a mapping,
                a table or a set.
            EmbeddingError: The model was trained on vectors that were computed elsewhere.
        """
        query_text, texts = _query(query), as_texts(documents)
        if not texts:
            return np.empty(0)
        vectors = self._encode_query(query_text), self._encode(texts)
        return self.scores_of_embeddings(*vectors, query_text=query_text, texts=texts)

    def scores_of_embeddings(
        self,
        query: ArrayLike,
        documents: ArrayLike,
        query_text: str | None = None,
        texts: Iterable[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the relevance of documents whose embeddings are computed already.

        The embeddings must come from the encoder used in training. They need not be normalised.
        A model with a lexical part needs the texts too.

        Args:
            query: (dim,) real numbers.
            documents: (n, dim) real numbers.
            query_text: The text of the query.
            texts: The n texts of the documents.

        Returns:
            (n,) float64.

        Raises:
            DataError: The model has a lexical part, and the texts are missing.
            EmbeddingError: A shape is wrong, or a vector is not finite or all zero.
        """
        dim = self.manifest.embedding_dim
        query_vector, vectors = as_vectors(query, "query"), _rows_of(documents, dim)
        if query_vector.shape != (dim,) or vectors.shape[1:] != (dim,):
            raise EmbeddingError(
                f"The vectors have the shapes {query_vector.shape} and {vectors.shape}, but must "
                f"be ({dim},) and (n, {dim})."
            )
        lexical = self._lexical_scores(query_text, texts, len(vectors))
        # Each document once: the rounding of a score depends on its position in the batch.
        distinct, positions = distinct_pairs(first_equal(vectors), lexical)
        unit = unit_rows(vectors[distinct], "documents")
        weight = self.manifest.fusion_weight
        of_distinct = None if lexical is None else lexical[distinct]
        scores = score(self._head, weight, _unit_query(query_vector), unit, of_distinct)
        return scores[positions]

    def _lexical_scores(
        self, query: str | None, texts: Iterable[str] | None, n_documents: int
    ) -> NDArray[np.float64] | None:
        """Return the lexical scores of texts, (n,), or None for a model that has none."""
        part = self._lexical_part
        if part is None:
            return None
        documents = _texts_of(texts, n_documents)
        assert part.lexicon is not None
        return part.lexicon.scores(_query_text(query), documents)

    @property
    def _lexical_part(self) -> LexicalPart | None:
        """The lexical part of the model, if it is used."""
        part = self._head.lexical
        return part if part is not None and part.is_used else None

    def share(self, query: str) -> float:
        """Return the share of the model's weight that a query keeps.

        It is low for a query that is far from the training queries, which is left to the cosine
        and BM25. Without `fusion.gate` it is 1 for every query.

        Args:
            query: The query.

        Raises:
            BundleError: The encoder is not the one used in training.
            DataError: The query is empty.
            EmbeddingError: The model was trained on vectors that were computed elsewhere.
        """
        if self._head.gate is None:
            return 1.0
        shares = gate_shares(self._head, self._encode_query(_query(query))[None, :])
        assert shares is not None
        return float(shares[0])

    def index(
        self,
        documents: Iterable[str],
        folder: str | os.PathLike[str],
        show_progress_bar: bool = False,
    ) -> DocumentIndex:
        """Encode documents and store their embeddings and states in a folder.

        Args:
            documents: The documents.
            folder: A new folder.
            show_progress_bar: Show the progress of encoding on standard error.

        Returns:
            The index, for `rank_indexed`.

        Raises:
            BundleError: The encoder is not the one used in training.
            DataError: A document is not a text, or `documents` is a mapping, a table or a set.
            EmbeddingError: There are no documents, or the model was trained on vectors that were
                computed elsewhere.
            OutputError: The folder exists already or cannot be written.
        """
        path, texts = as_path(folder, "folder"), as_texts(documents)
        require_free(path)  # checked before a corpus is encoded
        vectors = self._encode(texts, show_progress_bar=show_progress_bar)
        return self.index_embeddings(vectors, path, texts)

    def index_embeddings(
        self,
        embeddings: ArrayLike,
        folder: str | os.PathLike[str],
        texts: Iterable[str] | None = None,
    ) -> DocumentIndex:
        """Store documents whose embeddings are computed already, with their states, in a folder.

        The embeddings must come from the encoder used in training. They need not be normalised.

        Args:
            embeddings: (n, dim) real numbers, which may be a memory-mapped file.
            folder: A new folder.
            texts: The n texts of the documents, which a model with a lexical part needs.

        Returns:
            The index, for `rank_indexed`.

        Raises:
            BundleError: The model was not loaded from a bundle.
            DataError: The model has a lexical part, and the texts are missing.
            EmbeddingError: The shape is wrong, there are no documents, or a vector is not finite
                or all zero.
            OutputError: The folder exists already or cannot be written.
        """
        dim = self.manifest.embedding_dim
        vectors = _rows_of(embeddings, dim)
        if vectors.shape[1:] != (dim,):
            raise EmbeddingError(
                f"The vectors have the shape {vectors.shape}, but must be (n, {dim})."
            )
        path = as_path(folder, "folder")
        indexed = None if self._lexical_part is None else _texts_of(texts, len(vectors))
        return DocumentIndex.build(path, self._head, self._bundle_sha256(), vectors, indexed)

    def open_index(self, folder: str | os.PathLike[str]) -> DocumentIndex:
        """Open an index that was written with this model, by any engine.

        Args:
            folder: The folder of the index.

        Returns:
            The index, mapped into memory.

        Raises:
            BundleError: The index was written with another model, or a file in it is missing,
                cut off, altered, or of another version.
        """
        index = DocumentIndex.open(as_path(folder, "folder"), self._bundle_sha256())
        dim = self.manifest.embedding_dim
        state = represent(self._head, np.full((1, dim), dim**-0.5, np.float32)).numpy()
        stored = (index.embeddings.shape[1], index.states.shape[1], index.states.dtype)
        if stored != (dim, state.shape[1], state.dtype):
            raise BundleError(
                f"`{folder}` was altered: {index!r} has other vectors or states than the model. "
                "Index the documents again, into a new folder."
            )
        return index

    def rank_indexed(
        self,
        query: str,
        index: DocumentIndex,
        rows: Iterable[int] | None = None,
        top_k: int | None = None,
    ) -> list[RankedRow]:
        """Rank documents of an index by relevance to a query, best first.

        Args:
            query: The query.
            index: The index.
            rows: The candidates. Default: all documents.
            top_k: The number of documents to return. Default: all.

        Returns:
            At most `top_k` documents. Documents with equal scores keep their order.

        Raises:
            BundleError: The index was written with another model, or the encoder is not the one
                used in training.
            DataError: The query is empty, `top_k` is not an integer or is below 1, an entry of
                `rows` is not an integer, or a row is not in the index.
            EmbeddingError: The model was trained on vectors that were computed elsewhere.
        """
        limit, query_text = as_limit(top_k), _query(query)
        candidates = None if rows is None else as_rows(rows)
        vector = self._encode_query(query_text)
        scores = self.scores_of_indexed(vector, index, candidates, query_text)
        order = _best(scores, limit)
        numbers = order if candidates is None else candidates[order]
        return [
            RankedRow(int(row), float(scores[i])) for row, i in zip(numbers, order, strict=True)
        ]

    def scores_of_indexed(
        self,
        query: ArrayLike,
        index: DocumentIndex,
        rows: Iterable[int] | None = None,
        query_text: str | None = None,
    ) -> NDArray[np.float64]:
        """Return the relevance of documents of an index to an embedded query.

        Args:
            query: (dim,) real numbers from the encoder used in training; they need not be
                normalised.
            index: The index.
            rows: The candidates. Default: all documents.
            query_text: The text of the query, which a model with a lexical part needs.

        Returns:
            (len(rows),) float64 in the order of `rows`, or (len(index),) for all documents.

        Raises:
            BundleError: The index was written with another model.
            DataError: An entry of `rows` is not an integer, a row is not in the index, or the
                model has a lexical part and the text of the query is missing.
            EmbeddingError: The shape of the query is wrong, or it is not finite or all zero.
        """
        vector = as_vectors(query, "query")
        if vector.shape != (self.manifest.embedding_dim,):
            raise EmbeddingError(
                f"The query's vector has the shape {vector.shape}, but must be "
                f"({self.manifest.embedding_dim},)."
            )
        if index.bundle_sha256 != self._bundle_sha256():
            raise BundleError(
                "The index was written with another model. Open it with `open_index`."
            )
        unit = _unit_query(vector)
        if rows is not None:
            distinct, positions = np.unique(index.first_rows(rows), return_inverse=True)
            return self._scores_of_rows(unit, index, distinct, query_text)[positions]
        scores = self._scores_of_rows(unit, index, None, query_text)
        repeated, first = index.duplicates.T
        scores[repeated] = scores[first]
        return scores

    def _scores_of_rows(
        self,
        query: Embeddings,
        index: DocumentIndex,
        rows: NDArray[np.intp] | None,
        query_text: str | None,
    ) -> NDArray[np.float64]:
        """Return the relevance of rows, or of all, to a query of length 1."""
        represented = represent_query(self._head, query)
        score_block = partial(score_represented, self._head, self.manifest.fusion_weight)
        lexical = self._lexical_scores_of_rows(query_text, index, rows)
        scores, start = [np.empty(0)], 0
        for vectors, states in index.blocks(rows):
            part = None if lexical is None else lexical[start : start + len(vectors)]
            scores.append(score_block(represented, vectors, _tensor(states), part))
            start += len(vectors)
        return np.concatenate(scores)

    def _lexical_scores_of_rows(
        self, query_text: str | None, index: DocumentIndex, rows: NDArray[np.intp] | None
    ) -> NDArray[np.float64] | None:
        if self._lexical_part is None:
            return None
        if index.lexical is None:
            raise BundleError(
                "The index has no terms of its documents, which the model's lexical part needs. "
                "Index the documents again, with their texts."
            )
        try:
            return index.lexical.scores(_query_text(query_text), rows)
        except IndexError:
            raise BundleError(
                "The terms of the index were altered: they name a document that it does not have. "
                "Index the documents again, into a new folder."
            ) from None

    def _bundle_sha256(self) -> str:
        if not self.manifest.sha256:
            raise BundleError(
                "An index belongs to a bundle, but this model was not loaded from one. Export it, "
                "and use `Reranker.load`."
            )
        return self.manifest.sha256

    def _encode_query(self, query: str) -> Embeddings:
        """Return the embedding of a query, (dim,), of length 1."""
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
                f"with `{self.manifest.encoder_fingerprint}`. Install that encoder, or name its "
                "folder with `encoder`."
            )
        return self._encoder


def _best(scores: NDArray[np.float64], limit: int | None) -> NDArray[np.intp]:
    """Return the positions of the highest scores, best first; equal ones keep their order."""
    if limit is None or limit >= len(scores):
        return np.argsort(-scores, kind="stable")
    lowest = np.partition(scores, -limit)[-limit]
    among = np.flatnonzero(scores >= lowest)  # no sorting of all documents
    return among[np.argsort(-scores[among], kind="stable")[:limit]]


def _warn(message: str) -> None:
    """Warn at the line that called this module."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_code.co_filename == __file__:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, EncoderWarning, stacklevel=level)


def _tensor(states: NDArray[Any]) -> Tensor:
    """Return states as a tensor, copied if they are mapped: torch must be able to write to it."""
    return torch.from_numpy(states if states.flags.writeable else states.copy())


def _unit_query(query: NDArray[Any]) -> Embeddings:
    vector: Embeddings = unit_rows(query[None, :], "query")[0]
    return vector


def _rows_of(vectors: ArrayLike, width: int) -> NDArray[Any]:
    """Return vectors of documents as an array, (0, width) for an empty list."""
    array = as_vectors(vectors, "documents")
    return np.empty((0, width), dtype=np.float32) if array.shape == (0,) else array


def _query_text(query: str | None) -> str:
    if query is None:
        raise DataError(f"`query_text` is missing. {_NEEDS_TEXTS}")
    return _query(query)


def _texts_of(texts: Iterable[str] | None, n_documents: int) -> list[str]:
    """Return the texts of documents that are given as vectors."""
    if texts is None:
        raise DataError(f"`texts` is missing. {_NEEDS_TEXTS}")
    documents = as_texts(texts, "texts")
    if len(documents) != n_documents:
        raise DataError(f"`texts` has {len(documents)} texts, but there are {n_documents} vectors.")
    return documents


def _query(query: str) -> str:
    text = as_text(query, "The query")
    if not text.strip():
        raise DataError("The query has no text.")
    return text
