"""Checks that every collection passes before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from quantum_rerank.datasets.collection import MAX_CHARACTERS, Collection, is_long, text_counts
from quantum_rerank.datasets.counts import N_EXAMPLES, Count
from quantum_rerank.datasets.text_files import is_encodable
from quantum_rerank.datasets.unmatched import unmatched_lines, without_unmatched
from quantum_rerank.errors import DataError
from quantum_rerank.plural import counted

Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> grade."""


def checked(collection: Collection) -> Collection:
    """Refuse an invalid collection, and leave out queries without a relevant document.

    - Judgments that name a missing query, or a query without text, are left out.
    - Relevant documents missing from the corpus move to `absent`: nothing can be learned from
      them, but they count in evaluation, as in BEIR's.
    - Texts are cut after MAX_CHARACTERS.
    - A document without text stays, because rows of precomputed vectors follow the corpus.

    All of this is counted in `skipped`.

    Args:
        collection: A collection as a source has read it, with all grades.

    Raises:
        DataError: The collection is invalid. The message has all problems, with at most five
            examples of each.
    """
    matched = without_unmatched(collection)
    if problems := _problems(collection):
        raise _error(matched, problems)
    qrels = _relevant(matched)
    if not any(qrels.values()):
        raise _error(matched, ["no query has a relevant document."])
    queries = {query: text for query, text in matched.queries.items() if query in qrels}
    counts = _counts(matched, len(matched.queries) - len(qrels))
    return replace(
        matched,
        corpus=_cut(matched.corpus),
        queries=_cut(queries),
        qrels=qrels,
        official={split: ids & qrels.keys() for split, ids in matched.official.items()},
        skipped={**matched.skipped, **counts},
        not_relevant={**matched.not_relevant, **_not_relevant(matched.qrels, qrels)},
    )


def _error(matched: Collection, problems: Sequence[str]) -> DataError:
    lines = [*problems, *unmatched_lines(matched)]
    return DataError([f"{matched.domain}: {line}" for line in lines])


def _problems(collection: Collection) -> list[str]:
    """Return a line for each mapping that is empty, and one for texts that are not Unicode."""
    problems = [
        f"{name} is empty."
        for name in ("corpus", "queries", "qrels")
        if not getattr(collection, name)
    ]
    not_unicode = [
        key
        for texts in (collection.corpus, collection.queries)
        for key, text in texts.items()
        if not is_encodable(key) or not is_encodable(text)
    ]
    if not_unicode:
        examples = ", ".join(Count(0, not_unicode).examples)
        more = ", ..." if len(not_unicode) > N_EXAMPLES else ""
        problems.append(
            f"{counted(len(not_unicode), 'text')} with half a surrogate pair, which is not "
            f"Unicode: {examples}{more}. Correct them."
        )
    return problems


def _relevant(matched: Collection) -> dict[str, dict[str, int]]:
    """Return the grades above 0, of queries that have any, present or absent."""
    qrels = {
        query: {document: grade for document, grade in judged.items() if grade > 0}
        for query, judged in matched.qrels.items()
    }
    return {query: judged for query, judged in qrels.items() if judged or query in matched.absent}


def _not_relevant(qrels: Qrels, kept_queries: Qrels) -> dict[str, tuple[str, ...]]:
    """Return the documents with a grade of 0 or below, of queries that have any."""
    rejected = {
        query: tuple(document for document, grade in judged.items() if grade <= 0)
        for query, judged in qrels.items()
        if query in kept_queries
    }
    return {query: documents for query, documents in rejected.items() if documents}


def _counts(matched: Collection, n_unanswered: int) -> dict[str, int]:
    """Return the counts of what is left out or changed, without counts of 0."""
    grades = (grade for judged in matched.qrels.values() for grade in judged.values())
    counts = {
        "queries without a relevant document left out": n_unanswered,
        "judgments below 0 taken as not relevant": sum(grade < 0 for grade in grades),
    }
    counts |= text_counts(matched.corpus, matched.queries)
    return {sentence: count for sentence, count in counts.items() if count}


def _cut(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Return the same mapping, or one with its long texts cut."""
    if not any(map(is_long, texts.values())):
        return texts
    return {key: text[:MAX_CHARACTERS] for key, text in texts.items()}
