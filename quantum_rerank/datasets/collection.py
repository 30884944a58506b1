"""A judged retrieval collection: what every source delivers."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from quantum_rerank.datasets.counts import N_EXAMPLES, Count, Tally, count_lines
from quantum_rerank.datasets.text_files import is_encodable
from quantum_rerank.errors import DataError

# No encoder here reads beyond some thousand characters, but all of them split the
# whole of a text into tokens first.
MAX_CHARACTERS = 100_000


class Unmatched(NamedTuple):
    """Number of judgments that name an absent or empty text, and of all judgments."""

    number: int = 0
    of: int = 0


@dataclass(frozen=True)
class Collection:
    """Texts, queries and relevance judgments of one domain.

    domain: the name under which results are reported, such as `icd10:5`.
    corpus: document id -> text.
    queries: query id -> text; only queries with a relevant document, present or absent, are kept.
    qrels: query id -> document id -> grade; `checked` keeps the grades above 0 here.
    official: split name (`train`, `dev`, `test`) -> query ids, where a source has splits.
    skipped: what was left out, cut or not taken as it was given, as sentence -> count;
        a `Count` has examples too.
    unmatched: judgments that are left out because of what they name, see `require_matched`.
    not_relevant: query id -> documents that were judged not relevant, by a grade of 0 or below.
    own_documents: query id -> documents that are the query itself and no candidates of it.
    absent: query id -> relevant documents that the corpus lacks -> grade. No system can find them.
    """

    domain: str
    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    official: Mapping[str, frozenset[str]] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    unmatched: Unmatched = field(default_factory=Unmatched)
    not_relevant: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own_documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def answerable(self, queries: Iterable[str]) -> list[str]:
        """Select the queries with a relevant document in the corpus, which can be trained on."""
        return [query for query in queries if self.qrels[query]]


def checked(collection: Collection) -> Collection:
    """Refuse a collection that contradicts itself; drop queries that nothing answers.

    Judgments that name an absent query or a query without text are left out. Documents that are
    relevant but absent are kept apart, in `absent`: nothing can be learned from them, but they
    count in evaluation, as in BEIR's.
    Texts are cut after MAX_CHARACTERS. A document without text stays, for the rows of
    vectors computed elsewhere follow the corpus. All of this is counted in `skipped`.

    Raises: DataError with every problem found, at most five examples of each.
    """
    matched = _matched(collection)
    problems = _problems(collection)
    if problems:
        problems += _unmatched_lines(matched)
        raise DataError([f"{collection.domain}: {problem}" for problem in problems])
    collection = matched
    answered = {
        query: {document: grade for document, grade in judged.items() if grade > 0}
        for query, judged in collection.qrels.items()
    }
    answered = {
        query: judged for query, judged in answered.items() if judged or query in collection.absent
    }
    if not any(answered.values()):
        problems = ["no query has a relevant document.", *_unmatched_lines(matched)]
        raise DataError([f"{collection.domain}: {problem}" for problem in problems])
    queries = {query: text for query, text in collection.queries.items() if query in answered}
    return Collection(
        collection.domain,
        _cut(collection.corpus),
        _cut(queries),
        answered,
        {name: ids & answered.keys() for name, ids in collection.official.items()},
        {**collection.skipped, **_counts(collection, len(collection.queries) - len(answered))},
        unmatched=collection.unmatched,
        absent=collection.absent,
        not_relevant={
            **collection.not_relevant,
            **_judged_not_relevant(collection.qrels, answered),
        },
    )


def require_matched(collection: Collection, max_share: float) -> None:
    """Refuse a collection of whose judgments too many were left out: it is likely a mix-up.

    A single one is always allowed, unless `max_share` is 0.

    Args:
        collection: as `checked` returns it.
        max_share: of all judgments, from 0 to 1.
    Raises: DataError with examples of each kind.
    """
    number, of = collection.unmatched
    allowed = max(1.0, max_share * of) if max_share else 0.0
    if number <= allowed:
        return
    listed = "; ".join(_unmatched_lines(collection))
    raise DataError(
        f"{collection.domain}: {number} of {of} judgments ({number / of:.1%}) name a query or "
        f"document that is absent or empty, but at most {max_share:.1%} may be left out. {listed}. "
        "Add the texts that they name, remove these judgments, or raise "
        "`data.max_unmatched_judgments`."
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
    unreadable = [
        key
        for texts in (collection.corpus, collection.queries)
        for key, text in texts.items()
        if not is_encodable(key) or not is_encodable(text)
    ]
    if unreadable:
        examples = ", ".join(Count(0, unreadable).examples)
        more = ", ..." if len(unreadable) > N_EXAMPLES else ""
        problems.append(
            f"{len(unreadable)} texts with half a surrogate pair, which is no text: "
            f"{examples}{more}. Mend them."
        )
    return problems


ABSENT_QUERY = "judgments that name an absent query left out"
ABSENT_DOCUMENT = "judgments that name an absent document counted as not found"
EMPTY_QUERY = "judgments of a query without text left out"
NO_QUERY = "rows without a query left out"
UNMATCHED = (ABSENT_QUERY, ABSENT_DOCUMENT, EMPTY_QUERY, NO_QUERY)
"""Kinds of `Collection.skipped` that `Collection.unmatched` counts."""


def _unmatched_lines(collection: Collection) -> list[str]:
    """Sentences on the judgments that are left out because of what they name."""
    return count_lines({k: count for k, count in collection.skipped.items() if k in UNMATCHED})


def _matched(collection: Collection) -> Collection:
    """The collection without the judgments whose query or document is absent, counted."""
    tallies = {what: Tally() for what in (ABSENT_QUERY, ABSENT_DOCUMENT, EMPTY_QUERY)}
    qrels = {
        query: _of_present(query, judged, collection, tallies)
        for query, judged in collection.qrels.items()
    }
    counts: dict[str, int] = {}
    for what, tally in tallies.items():
        counts |= tally.as_counts(what)
    if not counts:
        return collection
    absent = {
        query: relevant
        for query, judged in collection.qrels.items()
        if collection.queries.get(query, "").strip()
        and (relevant := _absent_relevant(judged, collection.corpus))
    }
    n_rows_left_out = collection.unmatched.number
    n_judgments = sum(map(len, collection.qrels.values()))
    return replace(
        collection,
        queries={query: text for query, text in collection.queries.items() if text.strip()},
        qrels={q: judged for q, judged in qrels.items() if judged or q in absent},
        absent=absent,
        skipped={**collection.skipped, **counts},
        unmatched=Unmatched(n_rows_left_out + sum(counts.values()), n_rows_left_out + n_judgments),
    )


def _absent_relevant(judged: Mapping[str, int], corpus: Container[str]) -> dict[str, int]:
    return {d: grade for d, grade in judged.items() if grade > 0 and d not in corpus}


def _of_present(
    query: str, judged: Mapping[str, int], collection: Collection, tallies: Mapping[str, Tally]
) -> dict[str, int]:
    """The judgments of a query that can be used; the others are added to `tallies`."""
    text = collection.queries.get(query)
    if text is None or not text.strip():
        tally = tallies[ABSENT_QUERY if text is None else EMPTY_QUERY]
        for document in judged:
            tally.add(f"{query} -> {document}")
        return {}
    present = {}
    for document, grade in judged.items():
        if document in collection.corpus:
            present[document] = grade
        else:
            tallies[ABSENT_DOCUMENT].add(f"{query} -> {document}")
    return present
