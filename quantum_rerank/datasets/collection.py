"""A judged retrieval collection: what every source delivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantum_rerank.errors import DataError


@dataclass(frozen=True)
class Collection:
    """Texts, queries and relevance judgments of one domain.

    domain: the name under which results are reported, such as `icd10:5`.
    corpus: document id -> text.
    queries: query id -> text; only queries with a relevant document are kept.
    qrels: query id -> document id -> grade; grades of 0 and below mean not relevant.
    official: split name (`train`, `dev`, `test`) -> query ids, where a source has splits.
    skipped: what was left out while loading, as reason -> count.
    """

    domain: str
    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    official: Mapping[str, frozenset[str]] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)


def checked(collection: Collection) -> Collection:
    """Refuse a collection that contradicts itself; drop queries that nothing answers.

    Raises: DataError with every problem found, at most five examples of each.
    """
    problems = _problems(collection)
    if problems:
        raise DataError([f"{collection.domain}: {problem}" for problem in problems])
    answered = {
        query: {document: grade for document, grade in judged.items() if grade > 0}
        for query, judged in collection.qrels.items()
    }
    answered = {query: judged for query, judged in answered.items() if judged}
    if not answered:
        raise DataError(f"{collection.domain}: no query has a relevant document.")
    unanswered = len(collection.queries) - len(answered)
    skipped = dict(collection.skipped)
    if unanswered:
        skipped["queries without a relevant document"] = unanswered
    return Collection(
        collection.domain,
        collection.corpus,
        {query: text for query, text in collection.queries.items() if query in answered},
        answered,
        {name: ids & answered.keys() for name, ids in collection.official.items()},
        skipped,
    )


def _problems(collection: Collection) -> list[str]:
    problems = [
        f"{name} is empty."
        for name in ("corpus", "queries", "qrels")
        if not getattr(collection, name)
    ]
    empty = [query for query, text in collection.queries.items() if not text.strip()]
    unknown_queries = [query for query in collection.qrels if query not in collection.queries]
    unknown_documents = [
        f"{query} -> {document}"
        for query, judged in collection.qrels.items()
        for document in judged
        if document not in collection.corpus
    ]
    for what, examples in (
        ("queries with no text", empty),
        ("qrels that name unknown queries", unknown_queries),
        ("qrels that name unknown documents", unknown_documents),
    ):
        if examples:
            shown = ", ".join(examples[:5]) + (", ..." if len(examples) > 5 else "")
            problems.append(f"{len(examples)} {what}: {shown}.")
    return problems
