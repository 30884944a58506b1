"""Judgments that name a missing or empty text: left out, counted, and refused if many."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from quantum_rerank.datasets.collection import Collection, Unmatched
from quantum_rerank.datasets.counts import Tally, count_lines
from quantum_rerank.errors import DataError

MISSING_QUERY = "judgments of an absent query left out"
MISSING_DOCUMENT = "judgments of an absent document counted as not found"
EMPTY_QUERY = "judgments of a query without text left out"
NO_QUERY = "rows without a query left out"
UNMATCHED = (MISSING_QUERY, MISSING_DOCUMENT, EMPTY_QUERY, NO_QUERY)
"""Sentences of `Collection.skipped` whose counts `Collection.unmatched` sums up."""


def require_matched(collection: Collection, max_share: float) -> None:
    """Refuse a collection with too many unmatched judgments.

    The files likely do not belong together. A single unmatched judgment is always allowed, unless
    `max_share` is 0.

    Args:
        collection: A collection that `checked` has returned.
        max_share: Largest allowed share of all judgments, from 0 to 1.

    Raises:
        DataError: The share is larger. The message has examples of each kind.
    """
    number, of = collection.unmatched
    allowed = max(1.0, max_share * of) if max_share else 0.0
    if number <= allowed:
        return
    examples = "; ".join(unmatched_lines(collection))
    raise DataError(
        f"{collection.domain}: {number} of {of} judgments ({number / of:.1%}) name a query or "
        f"document that is absent or empty, but at most {max_share:.1%} may be left out. "
        f"{examples}. Add the texts that they name, remove these judgments, or raise "
        "`data.max_unmatched_judgments`."
    )


def unmatched_lines(collection: Collection) -> list[str]:
    """Return a line with examples for each kind of unmatched judgments."""
    skipped = collection.skipped
    return count_lines({kind: skipped[kind] for kind in skipped if kind in UNMATCHED})


def without_unmatched(collection: Collection) -> Collection:
    """Leave out judgments whose query or document is missing, and count them.

    Relevant documents that are missing from the corpus move to `Collection.absent`.
    """
    tallies = {kind: Tally() for kind in (MISSING_QUERY, MISSING_DOCUMENT, EMPTY_QUERY)}
    qrels = {
        query: _matched(query, judged, collection, tallies)
        for query, judged in collection.qrels.items()
    }
    counts: dict[str, int] = {}
    for kind, tally in tallies.items():
        counts |= tally.as_counts(kind)
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


def _matched(
    query: str, judged: Mapping[str, int], collection: Collection, tallies: Mapping[str, Tally]
) -> dict[str, int]:
    """Return the usable judgments of a query, and add the unmatched ones to `tallies`."""
    text = collection.queries.get(query)
    if text is None or not text.strip():
        tally = tallies[MISSING_QUERY if text is None else EMPTY_QUERY]
        for document in judged:
            tally.add(f"{query} -> {document}")
        return {}
    present = {}
    for document, grade in judged.items():
        if document in collection.corpus:
            present[document] = grade
        else:
            tallies[MISSING_DOCUMENT].add(f"{query} -> {document}")
    return present
