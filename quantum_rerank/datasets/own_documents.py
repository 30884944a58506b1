"""Documents that are the query itself, as in collections of questions, arguments or papers.

Such a document is retrieved first, but has no judgment. BEIR's evaluation therefore removes a
document with the query's id from the results (`ignore_identical_ids`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.copies import documents_by_text, normalized

IdenticalRule = Literal["auto", "id", "text", "none"]


def own_documents(
    queries: Mapping[str, str], corpus: Mapping[str, str], rule: IdenticalRule
) -> dict[str, tuple[str, ...]]:
    """Find the documents that are the query itself.

    Args:
        queries: Query id -> text.
        corpus: Document id -> text.
        rule: `id`, documents with the query's id; `auto`, the same, unless queries and documents
            are numbered independently, see `ids_are_shared`; `text`, documents with the query's
            text, apart from case and white space; `none`, no documents.

    Returns:
        Query id -> document ids, of queries that have any.

    >>> own_documents({"1": "Why?"}, {"1": "why?", "2": "Why? "}, "auto")
    {'1': ('1',)}
    >>> own_documents({"1": "Why?"}, {"1": "why?", "2": "Why? "}, "text")
    {'1': ('1', '2')}
    """
    if rule == "none":
        return {}
    if rule == "text":
        texts = {query: normalized(text) for query, text in queries.items()}
        same_text = documents_by_text(corpus, set(texts.values()) - {""})
        return {query: tuple(same_text[t]) for query, t in texts.items() if t in same_text}
    if rule == "auto" and not ids_are_shared(queries, corpus):
        return {}
    return {query: (query,) for query in queries if query in corpus}


def ids_are_shared(queries: Mapping[str, str], corpus: Mapping[str, str]) -> bool:
    """Return whether queries and documents share their ids, so that an id means one text.

    They do if at least half of the queries whose id is also a document's are contained in that
    document. Many collections number queries and documents from 1 independently; then their
    texts agree by chance at most.

    Args:
        queries: Query id -> text.
        corpus: Document id -> text.
    """
    agree = [
        bool(key := normalized(text)) and key in normalized(corpus[query])
        for query, text in queries.items()
        if query in corpus
    ]
    return 2 * sum(agree) >= len(agree) > 0


def without_own_documents(collection: Collection, rule: IdenticalRule) -> Collection:
    """Leave documents that are the query itself out of its candidates, and count them.

    A document that was judged relevant stays a candidate. One that was judged not relevant is
    left out, and is not a negative of the query either.

    Args:
        collection: A checked collection.
        rule: Rule of `own_documents`.

    Returns:
        The collection, with `own_documents` and the counts in `skipped`.
    """
    same = own_documents(collection.queries, collection.corpus, rule)
    left_out = {
        query: documents
        for query, identical in same.items()
        if (documents := tuple(d for d in identical if d not in collection.qrels[query]))
    }
    counts = _counts(same, left_out, "text" if rule == "text" else "id")
    if rule == "auto" and not same:
        counts = _of_two_numberings(collection)
    not_relevant = {
        query: documents
        for query, rejected in collection.not_relevant.items()
        if (documents := tuple(d for d in rejected if d not in left_out.get(query, ())))
    }
    return replace(
        collection,
        own_documents=left_out,
        not_relevant=not_relevant,
        skipped={**collection.skipped, **{key: n for key, n in counts.items() if n}},
    )


def _counts(
    same: Mapping[str, tuple[str, ...]], left_out: Mapping[str, tuple[str, ...]], key: str
) -> dict[str, int]:
    n_same, n_left_out = (sum(map(len, pairs.values())) for pairs in (same, left_out))
    return {
        f"documents with the {key} of a query left out of its candidates": n_left_out,
        f"documents with the {key} of a query kept, as they are judged relevant to it": n_same
        - n_left_out,
    }


def _of_two_numberings(collection: Collection) -> dict[str, int]:
    pairs = [q for q in collection.queries if q in collection.corpus]
    return {
        "documents with the id of a query but another text kept (`data.ignore_identical: id` "
        "leaves them out, as BEIR's evaluation does)": sum(
            query not in collection.qrels[query] for query in pairs
        )
    }
