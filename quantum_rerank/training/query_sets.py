"""Query sets of an embedded collection: some of its queries with their candidates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection
from quantum_rerank.embeddings import Embeddings, take
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation.query_set import QuerySet, Rows
from quantum_rerank.lexical import LexicalIndex, index_texts
from quantum_rerank.training.candidates import (
    alternated,
    is_among,
    nearest_documents,
    with_judged,
    without_rows,
)

CandidateSource = Literal["cosine", "bm25", "union"]


def build_query_set(
    collection: Collection,
    queries: Embeddings,
    documents: Embeddings,
    *,
    query_ids: Sequence[str],
    n_candidates: int,
    candidates_from: CandidateSource = "cosine",
    for_training: bool = False,
    lexical: LexicalIndex | None = None,
) -> QuerySet:
    """Select some queries of an embedded collection and find their candidates.

    A query's own documents are not among its candidates.

    Args:
        collection: The texts and judgments.
        queries: (all queries, dim) float32, in the order of the collection.
        documents: (m, dim) float32, in the order of the collection.
        query_ids: The queries to select.
        n_candidates: Candidates for each query, fewer if the corpus is too small.
        candidates_from: Ranking that the candidates are the first of; `union` takes them in turn
            from both.
        for_training: Add documents that were judged not relevant to the candidates. Other
            queries have those of the first retrieval alone, on which all systems are compared.
        lexical: Terms of the documents, see `lexical_index`.

    Raises:
        DataError: A query has no documents to rank but itself.
    """
    row_of_query = {query: row for row, query in enumerate(collection.queries)}
    selected = queries[[row_of_query[query] for query in query_ids]]
    qrels = {query: dict(collection.qrels[query]) for query in query_ids}
    positives, own_documents, not_relevant = _judged_rows(collection, query_ids)
    candidates, cosine = _nearest_others(
        selected,
        documents,
        domain=collection.domain,
        own_documents=own_documents,
        n_candidates=n_candidates,
    )
    texts = [collection.queries[query] for query in query_ids]
    if candidates_from != "cosine":
        assert lexical is not None  # checked by `DataConfig`
        rankings = _lexical_rankings(lexical, texts, own_documents, n_candidates)
        with_cosine = candidates_from == "union"
        candidates, cosine = _joined(candidates, rankings, selected, documents, with_cosine)
    if for_training and not_relevant:
        candidates, cosine = with_judged(
            candidates,
            cosine,
            is_relevant=is_among(candidates, positives),
            not_relevant=not_relevant,
            queries=selected,
            documents=documents,
        )
    return QuerySet(
        domain=collection.domain,
        query_ids=tuple(query_ids),
        document_ids=tuple(collection.corpus),
        queries=selected,
        documents=documents,
        candidates=candidates,
        cosine=cosine,
        grades=_grades(candidates, positives, list(qrels.values())),
        qrels=qrels if for_training else _with_absent(qrels, collection.absent),
        positives=positives,
        skipped=dict(collection.skipped),
        own_documents=own_documents,
        not_relevant=not_relevant,
        lexical=_lexical(lexical, texts, candidates),
    )


def select_queries(query_set: QuerySet, query_ids: Sequence[str]) -> QuerySet:
    """Return some queries of a query set, on the same documents.

    Args:
        query_set: A query set.
        query_ids: Ids of its queries.
    """
    row_of = {query: row for row, query in enumerate(query_set.query_ids)}
    rows = np.array([row_of[query] for query in query_ids], dtype=np.int64)

    def of_rows(values: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return tuple(values[row] for row in rows) if values else ()

    return replace(
        query_set,
        query_ids=tuple(query_ids),
        queries=query_set.queries[rows],
        candidates=query_set.candidates[rows],
        cosine=query_set.cosine[rows],
        lexical=None if query_set.lexical is None else query_set.lexical[rows],
        grades=query_set.grades[rows],
        qrels={query: query_set.qrels[query] for query in query_ids},
        positives=of_rows(query_set.positives),
        own_documents=of_rows(query_set.own_documents),
        not_relevant=of_rows(query_set.not_relevant),
    )


def lexical_index(collection: Collection, config: DataConfig) -> LexicalIndex | None:
    """Index the terms of a collection's documents, if a lexical score is configured."""
    if config.lexical == "none":
        return None
    return index_texts(collection.corpus.values(), config.lexical, config.language)


def _lexical(
    index: LexicalIndex | None, queries: Sequence[str], candidates: Rows
) -> NDArray[np.float64] | None:
    """Score the candidates of each query, (q, k)."""
    if index is None:
        return None
    pairs = zip(queries, candidates, strict=True)
    return np.array([index.scores(query, rows) for query, rows in pairs]).reshape(candidates.shape)


def _lexical_rankings(
    index: LexicalIndex, queries: Sequence[str], own_documents: Sequence[Rows], n: int
) -> Iterator[Rows]:
    """Yield of each query the documents that share a term with it, best first, n at most."""
    for number, query in enumerate(queries):
        scores = index.scores(query)
        if own_documents:
            scores[own_documents[number]] = 0.0
        found = np.flatnonzero(scores)
        yield found[np.argsort(-scores[found], kind="stable")[:n]]


def _joined(
    nearest: Rows,
    lexical: Iterable[Rows],
    queries: Embeddings,
    documents: Embeddings,
    with_cosine: bool,
) -> tuple[Rows, Embeddings]:
    """Join the nearest documents and those of BM25; the nearest fill up where these are few.

    Args:
        nearest: (q, k) rows, best first.
        lexical: Per query, rows of documents, best first.
        queries: (q, dim) float32.
        documents: (m, dim) float32.
        with_cosine: Take the nearest in turn with those of BM25, not only to fill up.

    Returns:
        Candidates and cosines, (q, k) each, by falling cosine.
    """
    k = nearest.shape[1]
    candidates, cosine = np.empty_like(nearest), np.empty(nearest.shape, dtype=np.float32)
    for query, (near, found) in enumerate(zip(nearest, lexical, strict=True)):
        first = near if with_cosine else found
        rows = alternated(first, found, k)
        rows = np.concatenate([rows, near[~np.isin(near, rows)][: k - len(rows)]])
        values = take(documents, rows) @ queries[query]
        order = np.argsort(-values, kind="stable")
        candidates[query], cosine[query] = rows[order], values[order]
    return candidates, cosine


def _judged_rows(collection: Collection, query_ids: Sequence[str]) -> list[tuple[Rows, ...]]:
    """Return the rows of relevant, own and not relevant documents of each query."""
    row_of_document = {document: row for row, document in enumerate(collection.corpus)}
    return [
        _rows_by_query(query_ids, documents, row_of_document)
        for documents in (collection.qrels, collection.own_documents, collection.not_relevant)
    ]


def _rows_by_query(
    query_ids: Sequence[str],
    named: Mapping[str, Iterable[str]],
    row_of_document: Mapping[str, int],
) -> tuple[Rows, ...]:
    """Return the rows of some documents per query, or nothing if no documents are named."""
    if not named:
        return ()
    return tuple(
        np.array([row_of_document[document] for document in named.get(query, ())], np.int64)
        for query in query_ids
    )


def _nearest_others(
    queries: Embeddings,
    documents: Embeddings,
    *,
    domain: str,
    own_documents: Sequence[Rows],
    n_candidates: int,
) -> tuple[Rows, Embeddings]:
    """Find the nearest documents other than each query's own, as many for every query."""
    n_own = max(map(len, own_documents), default=0)
    candidates, cosine = nearest_documents(queries, documents, n_candidates + n_own)
    if not n_own:
        return candidates, cosine
    n_left = min(n_candidates, len(documents) - n_own)
    if n_left < 1:
        raise DataError(
            f"{domain}: all {len(documents)} documents are the query itself to a query. Add "
            "documents, or set `data.ignore_identical: none`."
        )
    return without_rows(candidates, cosine, own_documents, n_left)


def _with_absent(
    present: Mapping[str, Mapping[str, int]], absent: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """Return judgments for an evaluation, including documents that are not in the corpus."""
    return {query: {**judged, **absent.get(query, {})} for query, judged in present.items()}


def _grades(
    candidates: Rows, positives: Sequence[Rows], judged: Sequence[Mapping[str, int]]
) -> NDArray[np.int32]:
    """Return the relevance of each candidate, (q, k).

    Args:
        candidates: (q, k) rows of documents.
        positives: Per query, the rows of the documents in `judged`, in its order.
        judged: Per query, document id -> relevance.
    """
    grades = np.zeros(candidates.shape, dtype=np.int32)
    for query, (rows, relevance) in enumerate(zip(positives, judged, strict=True)):
        for row, grade in zip(rows, relevance.values(), strict=True):
            grades[query, candidates[query] == row] = grade
    return grades
