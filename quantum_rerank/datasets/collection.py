"""A judged retrieval collection: what every source delivers."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from quantum_rerank.datasets.text_files import is_encodable
from quantum_rerank.errors import DataError

# No encoder here reads beyond some thousand characters, but all of them split the
# whole of a text into tokens first.
MAX_CHARACTERS = 100_000


@dataclass(frozen=True)
class Collection:
    """Texts, queries and relevance judgments of one domain.

    domain: the name under which results are reported, such as `icd10:5`.
    corpus: document id -> text.
    queries: query id -> text; only queries with a relevant document are kept.
    qrels: query id -> document id -> grade; `checked` keeps the grades above 0 here.
    official: split name (`train`, `dev`, `test`) -> query ids, where a source has splits.
    skipped: what was left out, cut or not taken as it was given, as sentence -> count.
    not_relevant: query id -> documents that were judged not relevant, by a grade of 0 or below.
    own_documents: query id -> documents that are the query itself and no candidates of it.
    """

    domain: str
    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    official: Mapping[str, frozenset[str]] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    not_relevant: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own_documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def checked(collection: Collection) -> Collection:
    """Refuse a collection that contradicts itself; drop queries that nothing answers.

    Texts are cut after MAX_CHARACTERS. A document without text stays, for the rows of
    vectors computed elsewhere follow the corpus. All of this is counted in `skipped`.

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
    queries = {query: text for query, text in collection.queries.items() if query in answered}
    return Collection(
        collection.domain,
        _cut(collection.corpus),
        _cut(queries),
        answered,
        {name: ids & answered.keys() for name, ids in collection.official.items()},
        {**collection.skipped, **_counts(collection, len(collection.queries) - len(answered))},
        not_relevant={
            **collection.not_relevant,
            **_judged_not_relevant(collection.qrels, answered),
        },
    )


def _judged_not_relevant(
    qrels: Mapping[str, Mapping[str, int]], queries: Container[str]
) -> dict[str, tuple[str, ...]]:
    """The documents with a grade of 0 or below, of the queries that have any."""
    rejected = {
        query: tuple(document for document, grade in judged.items() if grade <= 0)
        for query, judged in qrels.items()
        if query in queries
    }
    return {query: documents for query, documents in rejected.items() if documents}


def require_ranking(collection: Collection) -> None:
    """Refuse a collection of one document, which every model ranks first."""
    if len(collection.corpus) == 1:
        raise DataError(
            f"{collection.domain}: the collection has one document, and so nothing to rank. "
            "Give more documents, or leave it out."
        )


def _counts(collection: Collection, unanswered: int) -> dict[str, int]:
    """What is not taken as it was given, where there is any."""
    grades = (grade for judged in collection.qrels.values() for grade in judged.values())
    counts = {
        "queries without a relevant document left out": unanswered,
        "judgments below 0 taken as not relevant": sum(grade < 0 for grade in grades),
    }
    counts |= text_counts(collection.corpus, collection.queries)
    return {what: count for what, count in counts.items() if count}


def text_counts(documents: Mapping[str, str], queries: Mapping[str, str]) -> dict[str, int]:
    """How many texts, by id, an encoder does not see as they are, where there are any."""
    n_long = sum(map(_is_long, (*documents.values(), *queries.values())))
    counts = {
        "documents without text kept": sum(not text.strip() for text in documents.values()),
        f"texts cut after {MAX_CHARACTERS:,} characters": n_long,
    }
    return {what: count for what, count in counts.items() if count}


def _is_long(text: str) -> bool:
    return len(text) > MAX_CHARACTERS


def _cut(texts: Mapping[str, str]) -> Mapping[str, str]:
    if not any(map(_is_long, texts.values())):
        return texts
    return {key: text[:MAX_CHARACTERS] for key, text in texts.items()}


def _problems(collection: Collection) -> list[str]:
    problems = [
        f"{name} is empty."
        for name in ("corpus", "queries", "qrels")
        if not getattr(collection, name)
    ]
    empty = [query for query, text in collection.queries.items() if not text.strip()]
    unreadable = [
        key
        for texts in (collection.corpus, collection.queries)
        for key, text in texts.items()
        if not is_encodable(key) or not is_encodable(text)
    ]
    unknown_queries = [query for query in collection.qrels if query not in collection.queries]
    unknown_documents = (
        f"{query} -> {document}"
        for query, judged in collection.qrels.items()
        for document in judged
        if document not in collection.corpus
    )
    return problems + [
        problem
        for what, found, way_out in (
            ("queries with no text", empty, "Give them one, or take out what judges them"),
            ("texts with half a surrogate pair, which is no text", unreadable, "Mend them"),
            ("qrels that name unknown queries", unknown_queries, _ADD_OR_REMOVE),
            ("qrels that name unknown documents", unknown_documents, _ADD_OR_REMOVE),
        )
        for problem in _told(what, list(found), way_out)
    ]


_ADD_OR_REMOVE = "Add what they name, or take out these qrels"


def _told(what: str, found: list[str], way_out: str) -> list[str]:
    """One sentence where something was found."""
    examples = [text if len(text) <= 100 else f"{text[:97]}..." for text in found[:5]]
    shown = ", ".join(examples) + (", ..." if len(found) > 5 else "")
    return [f"{len(found)} {what}: {shown}. {way_out}."] if found else []
