"""Use an exported model: `Reranker.load("best").rank(query, documents, top_k=10)`.

For documents that are searched more than once, `index` keeps what does not depend on the query.

Needs neither Ray, Optuna nor Weights & Biases.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.embeddings import Embeddings, EncoderSettings, Role, TextEncoder, unit_rows
from quantum_rerank.errors import BundleError, DataError, EmbeddingError, EncoderWarning
from quantum_rerank.export import Manifest, bundle_in, read_bundle
from quantum_rerank.similarity import Head, represent, score, score_represented
from quantum_rerank.whole_files import require_free


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
    """

    def __init__(
        self,
        head: Head,
        manifest: Manifest,
        encoder: str | None = None,
        device: str = "cpu",
        batch_size: int = 32,
    ) -> None:
        data = manifest.config.data
        self.manifest = manifest
        self._head = head.eval()
        settings = EncoderSettings(data.query_prompt, data.document_prompt, device, batch_size)
        self._encoder = TextEncoder(encoder or data.encoder, settings=settings)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        engine: str | None = None,
        encoder: str | None = None,
        device: str = "cpu",
        batch_size: int = 32,
    ) -> Reranker:
        """Load a bundle, or the one in the folder of a training or of a search.

        engine: takes the place of the one trained with; all score the same to 1e-6.
        encoder: the name or folder of the encoder trained with, where it is called otherwise
            than in training; another one is refused when a text is embedded.
        device: where the encoder runs, as torch names it (`cuda`, `cuda:1`, `mps`), or `auto`
            for the fastest there is. The default is the CPU whatever the training ran on, so
            that a bundle gives the same scores on every machine.
        batch_size: texts that the encoder takes at once.
        Raises: BundleError if a file is missing, cut off, altered, or of another version;
            ConfigError if there is no such engine; EmbeddingError if there is no such device.
        """
        bundle = read_bundle(bundle_in(Path(folder)), engine)
        return cls(*bundle, encoder, device, batch_size)

    def rank(self, query: str, documents: Iterable[str], top_k: int | None = None) -> list[Ranked]:
        """Order documents by relevance, best first, ties as given.

        Returns: at most `top_k` documents, all where it is None or larger than their
        number; an empty list for no documents.
        Raises: DataError if the query has no text, a document is no string, or top_k is below 1.
        """
        _check_top_k(top_k)
        documents = _texts(documents)
        scores = self.scores(query, documents)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [Ranked(int(i), documents[i], float(scores[i])) for i in order]

    def scores(self, query: str, documents: Iterable[str]) -> NDArray[np.float64]:
        """Relevance of each document, in the order given, (len(documents),)."""
        _check_text(query)
        if not (documents := _texts(documents)):
            return np.empty(0)
        return self.scores_of_embeddings(self._encode_query(query), self._encode(documents))

    def scores_of_embeddings(self, query: Embeddings, documents: Embeddings) -> NDArray[np.float64]:
        """The same for vectors of the encoder that the model was trained with.

        query: (dim,), documents: (n, dim), of any length.
        Raises: EmbeddingError if a shape is wrong, or a vector is not finite or all zero.
        """
        expected = self.manifest.embedding_dim
        if query.shape != (expected,) or documents.shape[1:] != (expected,):
            raise EmbeddingError(
                f"The vectors have the shapes {query.shape} and {documents.shape}, but must "
                f"be ({expected},) and (n, {expected})."
            )
        weight, vectors = self.manifest.fusion_weight, unit_rows(documents, "documents")
        return score(self._head, weight, _unit_query(query), vectors)

    def index(
        self, documents: Iterable[str], folder: str | Path, show_progress_bar: bool = False
    ) -> DocumentIndex:
        """Encode documents and keep their vectors and states in a folder.

        show_progress_bar: whether the progress of encoding is shown on standard error.
        Raises: OutputError if the folder exists already or cannot be written; DataError if a
            document is no string.
        """
        require_free(Path(folder))  # before a corpus is encoded in vain
        return self.index_embeddings(
            self._encode(_texts(documents), show_progress_bar=show_progress_bar), folder
        )

    def index_embeddings(self, embeddings: Embeddings, folder: str | Path) -> DocumentIndex:
        """The same for vectors of the encoder that the model was trained with.

        embeddings: (n, dim), of any length; they may be a mapped file.
        """
        expected = self.manifest.embedding_dim
        if embeddings.shape[1:] != (expected,):
            raise EmbeddingError(
                f"The vectors have the shape {embeddings.shape}, but must be (n, {expected})."
            )
        return DocumentIndex.build(Path(folder), self._head, self._bundle_sha256(), embeddings)

    def open_index(self, folder: str | Path) -> DocumentIndex:
        """Open what `index` has written with this model, by any engine.

        Raises: BundleError if it was made with another model, or if a file is missing, cut
            off, damaged, or of another version.
        """
        return DocumentIndex.open(Path(folder), self._bundle_sha256())

    def rank_indexed(
        self,
        query: str,
        index: DocumentIndex,
        rows: Sequence[int] | None = None,
        top_k: int | None = None,
    ) -> list[RankedRow]:
        """Order documents of an index by relevance, best first, ties as given.

        rows: the candidates, or None for all documents.
        Returns: at most `top_k` of them.
        Raises: DataError if the query has no text, top_k is below 1, or a row is not in
            the index.
        """
        _check_top_k(top_k)
        _check_text(query)
        scores = self.scores_of_indexed(self._encode_query(query), index, rows)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [RankedRow(int(i if rows is None else rows[i]), float(scores[i])) for i in order]

    def scores_of_indexed(
        self, query: Embeddings, index: DocumentIndex, rows: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Relevance of documents of an index, in the order of `rows`, or of all.

        query: (dim,), of any length.
        """
        if query.shape != (self.manifest.embedding_dim,):
            raise EmbeddingError(
                f"The query's vector has the shape {query.shape}, but must be "
                f"({self.manifest.embedding_dim},)."
            )
        if index.bundle_sha256 != self._bundle_sha256():
            raise BundleError("The index was made with another model. Open it with `open_index`.")
        query = _unit_query(query)
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


def _unit_query(query: Embeddings) -> Embeddings:
    vector: Embeddings = unit_rows(query[None, :], "query")[0]
    return vector


def _check_text(query: str) -> None:
    if not isinstance(query, str):
        raise DataError(f"The query is {query!r:.100}, but must be a text.")
    if not query.strip():
        raise DataError("The query has no text.")


def _texts(documents: Iterable[str]) -> list[str]:
    """Documents as a list, whatever holds them: a column of a table, a generator."""
    if isinstance(documents, str):
        raise DataError("`documents` is one text, but must be a list of texts. Put it in a list.")
    texts = list(documents)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"Document {place} is {text!r:.100}, but must be a text.")
    return texts


def _check_top_k(top_k: int | None) -> None:
    if top_k is not None and top_k < 1:
        raise DataError(f"`top_k` is {top_k}, but must be at least 1, or None for all.")
