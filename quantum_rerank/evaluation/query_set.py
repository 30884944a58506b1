"""Judged queries of one domain with the candidates that a reranker orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.embeddings import Embeddings

Rows = NDArray[np.int64]
"""Row numbers of a matrix of documents."""


@dataclass(frozen=True)
class QuerySet:
    """Judged queries of one domain and one role, with their nearest documents by cosine.

    Attributes:
        domain: Name of the collection.
        query_ids: The q queries, in the order of the rows of `queries`.
        document_ids: The m documents, in the order of the rows of `documents`.
        queries: (q, dim) float32.
        documents: (m, dim) float32, the whole corpus, shared between query sets. It may be a
            mapped file, of which only the required rows are read.
        candidates: (q, k) rows of `documents` by falling cosine.
        cosine: (q, k) float32.
        lexical: (q, k) BM25 of the candidates, from 0 to 1; None without `data.lexical`.
        grades: (q, k) judged relevance of the candidates, 0 for an unjudged one.
        qrels: Query id -> document id -> judged relevance.
        positives: Per query, the rows of its relevant documents, including those that are no
            candidates.
        skipped: Counts of what was skipped or changed when the whole collection was read, see
            `Collection`, and of queries with the text of a query in an earlier role.
        own_documents: Per query, the rows of documents that are the query itself. They are
            neither candidates nor negatives. Empty if no query has any.
        not_relevant: Per query, the rows that were judged not relevant. Empty if no query has
            any.
    """

    domain: str
    query_ids: tuple[str, ...]
    document_ids: tuple[str, ...]
    queries: Embeddings
    documents: Embeddings
    candidates: Rows
    cosine: Embeddings
    grades: NDArray[np.int32]
    qrels: dict[str, dict[str, int]]
    positives: tuple[Rows, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    own_documents: tuple[Rows, ...] = ()
    not_relevant: tuple[Rows, ...] = ()
    lexical: NDArray[np.float64] | None = None
