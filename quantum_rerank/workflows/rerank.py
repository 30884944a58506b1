"""Reranking of the results of a first-stage retrieval; each text is embedded once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import IdenticalRule, load_collection
from quantum_rerank.embeddings import (
    Embeddings,
    EmbeddingSource,
    Role,
    TextEncoder,
    distinct_pairs,
    first_equal,
)
from quantum_rerank.errors import BundleError, DataError
from quantum_rerank.evaluation.first_stage import (
    Ranked,
    Request,
    Texts,
    is_jsonl,
    json_lines,
    read_jsonl,
    read_trec_run,
    run_lines,
    without_own_documents,
)
from quantum_rerank.evaluation.trec_runs import falling
from quantum_rerank.export.trained_model import (
    ModelEncoder,
    TrainedModel,
    require_same_encoder,
    require_same_width,
)
from quantum_rerank.lexical import index_texts
from quantum_rerank.plain_console import tracked
from quantum_rerank.similarity import represent, represent_query, score_represented

_BLOCK = 2048  # texts that are represented at once: intermediate arrays stay small


@dataclass(frozen=True)
class FirstStage:
    """Requests of a first-stage retrieval with their texts."""

    requests: Sequence[Request]
    texts: Texts


@dataclass(frozen=True)
class Reranking:
    """Reranked requests.

    Attributes:
        ranked: Requests in the order of the input.
        skipped: Reason -> number of texts that were skipped, or that the encoder does not read
            in full.
    """

    ranked: Ranked
    skipped: Mapping[str, int]

    def lines(self, tag: str) -> Iterator[str]:
        """Yield the lines of the result, in the format of the input.

        Args:
            tag: Name of a TREC run.
        """
        has_records = any(request.record for request, _ in self.ranked)
        return json_lines(self.ranked) if has_records else run_lines(self.ranked, tag)


def read_first_stage(
    path: Path, data: str | None, config: DataConfig, rule: IdenticalRule | None = None
) -> FirstStage:
    """Read the results of a first-stage retrieval.

    Args:
        path: TREC run, or JSONL file with the texts; either may be compressed.
        data: Collection of the texts of a TREC run.
        config: Settings for reading the collection.
        rule: Rule by which a document of a TREC run is the query itself, and removed; None for
            the rule of `config`.

    Raises:
        DataError: The file or the collection cannot be read.
    """
    if is_jsonl(path):  # its queries have no ids, so that no rule applies
        return FirstStage(*read_jsonl(path))
    requests, texts = read_trec_run(path, data, config)
    return FirstStage(*without_own_documents(requests, texts, rule or config.ignore_identical))


def rerank(
    model: TrainedModel, first_stage: FirstStage, top: int, encoder: ModelEncoder
) -> Reranking:
    """Rerank every request, behind a progress bar.

    Args:
        model: Trained model.
        first_stage: Requests and their texts.
        top: Number of documents of a request that are reranked. The others keep their order,
            below those.
        encoder: Encoder of the texts.

    Returns:
        The requests with the new order of their documents.

    Raises:
        DataError: A text is missing or empty.
        BundleError: The encoder is not that of the training.
        EmbeddingError: The vectors have another size than those of the training.
    """
    requests = first_stage.requests
    skipped = first_stage.texts.skipped
    if not any(request.documents for request in requests):  # an encoder takes no empty list
        return Reranking([(request, []) for request in requests], skipped)
    queries, documents = _vectors(model, first_stage, top, encoder)
    scorer = _Scorer(model, queries, documents, _lexical(model, first_stage.texts))
    ranked = [(request, scorer.order(request, top)) for request in tracked(requests, "reranking")]
    return Reranking(ranked, {**skipped, **queries.unread, **documents.unread})


@dataclass(frozen=True)
class _Vectors:
    """Embedded texts by key.

    Attributes:
        keys: Keys of the texts.
        vectors: (n, dim), a row per key.
        unread: Reason -> number of texts that the encoder does not read in full.
    """

    keys: Sequence[str]
    vectors: Embeddings
    unread: Mapping[str, int] = field(default_factory=dict)

    @property
    def row_of(self) -> dict[str, int]:
        """Key -> row."""
        return {key: row for row, key in enumerate(self.keys)}


class _Scorer:
    """Order of documents by the scores of a model; every document is represented once."""

    def __init__(
        self,
        model: TrainedModel,
        queries: _Vectors,
        documents: _Vectors,
        lexical: _LexicalScores | None,
    ) -> None:
        self._model, self._lexical = model, lexical
        self._queries, self._documents = queries.vectors, documents.vectors
        self._query_row, self._document_row = queries.row_of, documents.row_of
        self._states = _represented(model, documents.vectors)
        self._first = first_equal(documents.vectors)

    def order(self, request: Request, top: int) -> list[tuple[int, float]]:
        """Return the positions of a request's documents in their new order, with scores."""
        scores = self._scores(request.query, request.documents[:top])
        order = np.argsort(-scores, kind="stable")
        rest = range(len(scores), len(request.documents))
        # The documents that were not reranked come last, whatever the scores of the others.
        lowered = falling([*scores[order].tolist(), *([float("inf")] * len(rest))])
        return list(zip([*order.tolist(), *rest], lowered, strict=True))

    def _scores(self, query: str, documents: Sequence[str]) -> NDArray[np.float64]:
        """Return (n,) scores.

        Equal documents are scored once: the rounding of a score depends on the document's
        position among the others.
        """
        equal = self._first[[self._document_row[key] for key in documents]]
        lexical = self._lexical and self._lexical(query, documents)
        places, positions = distinct_pairs(equal, lexical)
        rows, vector = equal[places], self._queries[self._query_row[query]]
        scores: NDArray[np.float64] = score_represented(
            self._model.head,
            self._model.fusion_weight,
            query=represent_query(self._model.head, vector),
            documents=self._documents[rows],
            document_states=self._states[rows],
            lexical=None if lexical is None else lexical[places],
        )
        return scores[positions]


_LexicalScores = Callable[[str, Sequence[str]], NDArray[np.float64]]
"""Lexical scores of documents for a query, all given by key: (n,)."""


def _lexical(model: TrainedModel, texts: Texts) -> _LexicalScores | None:
    """Return the lexical scores of a model, or None if it fuses none.

    The term frequencies are those of the collection, or those of the training for texts that
    belong to none.

    Raises:
        BundleError: The model was loaded without its term frequencies.
    """
    part = model.head.lexical
    if part is None or not part.is_used:
        return None
    if texts.collection:
        data = model.config.data
        assert data.lexical != "none"
        index = index_texts(texts.documents.values(), data.lexical, data.language)
        row_of = {key: row for row, key in enumerate(texts.documents)}
        return lambda query, documents: index.scores(
            texts.queries[query], np.array([row_of[key] for key in documents], np.int64)
        )
    lexicon = part.lexicon
    if lexicon is None:
        raise BundleError(
            "A file of weights has no term frequencies, which the model's lexical part needs. "
            "Pass the folder of the bundle, or a TREC run with --data."
        )
    return lambda query, documents: lexicon.scores(
        texts.queries[query], [texts.documents[key] for key in documents]
    )


def _represented(model: TrainedModel, vectors: Embeddings) -> Tensor:
    """Return (n, size) representations, computed in blocks."""
    starts = range(0, len(vectors), _BLOCK)
    return torch.cat([represent(model.head, vectors[s : s + _BLOCK]) for s in starts])


def _vectors(
    model: TrainedModel, first_stage: FirstStage, top: int, encoder: ModelEncoder
) -> tuple[_Vectors, _Vectors]:
    """Return the vectors of the queries and of the documents, after all checks."""
    require_same_encoder(model, encoder)
    texts = first_stage.texts
    queries = {request.query for request in first_stage.requests}
    documents = {key for request in first_stage.requests for key in request.documents[:top]}
    _require_texts("queries", queries, texts.queries)
    _require_texts("documents", documents, texts.documents)
    if blank := sorted(key for key in queries if not texts.queries[key].strip()):
        raise DataError(f"{len(blank)} queries have no text: {', '.join(blank[:5])}.")
    if isinstance(encoder.source, TextEncoder):
        query_vectors = _embedded(encoder.source, texts.queries, queries, Role.QUERY)
        document_vectors = _embedded(encoder.source, texts.documents, documents, Role.DOCUMENT)
    else:
        config, collection = model.config.data, texts.collection
        vectors = _precomputed(encoder.source, collection, config, queries)
        query_vectors, document_vectors = vectors
    require_same_width(model, document_vectors.vectors.shape[1], encoder)
    return query_vectors, document_vectors


def _embedded(
    encoder: TextEncoder, texts: Mapping[str, str], keys: Collection[str], role: Role
) -> _Vectors:
    """Embed texts of one role.

    All texts are embedded if at least half of them are needed: a corpus that a training has
    embedded is in the cache as a whole.
    """
    embeds_all = 2 * len(keys) >= len(texts)
    by_key = {key: text for key, text in texts.items() if embeds_all or key in keys}
    label = {Role.QUERY: "the queries", Role.DOCUMENT: "the documents"}[role]
    embedded = list(by_key.values())
    vectors = encoder.encode(embedded, label, role)
    return _Vectors(list(by_key), vectors, encoder.coverage(embedded, label, role).counts(role))


def _precomputed(
    source: EmbeddingSource, collection: str, config: DataConfig, queries: set[str]
) -> tuple[_Vectors, _Vectors]:
    """Return all vectors of a collection that were computed elsewhere."""
    if not collection:
        raise DataError(
            "The model was trained on precomputed vectors, and cannot embed the texts of a JSONL "
            "file. Rerank a TREC run, with --data."
        )
    loaded = load_collection(collection, config)
    _require_texts("queries with a vector", queries, loaded.queries)
    query_vectors, document_vectors = source.embed(loaded)
    return _Vectors(list(loaded.queries), query_vectors), _Vectors(
        list(loaded.corpus), document_vectors
    )


def _require_texts(kind: str, keys: set[str], texts: Mapping[str, str]) -> None:
    """Raise DataError if a key has no text: the run is of another collection."""
    missing = sorted(keys - texts.keys())
    if missing:
        listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(
            f"{len(missing)} of {len(keys)} {kind} are not in the collection: {listed}. "
            "Name the collection that was searched, with --data."
        )
