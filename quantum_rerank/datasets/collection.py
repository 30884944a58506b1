"""Judged retrieval collections, which every source delivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from quantum_rerank.errors import DataError

# No encoder here reads more than some thousand characters, but every encoder first splits the
# whole text into tokens.
MAX_CHARACTERS = 100_000


class Unmatched(NamedTuple):
    """Number of judgments that name a missing or empty text, and of all judgments."""

    number: int = 0
    of: int = 0


@dataclass(frozen=True)
class Collection:
    """Texts, queries and relevance judgments of one domain.

    Attributes:
        domain: Name under which results are reported, such as `icd10:5`.
        corpus: Document id -> text.
        queries: Query id -> text. `checked` keeps queries with a relevant document only,
            which may be missing from the corpus.
        qrels: Query id -> document id -> grade. `checked` keeps grades above 0 only.
        official: Split (`train`, `dev`, `test`) -> query ids, if the source has splits.
        skipped: Counts of what was left out or changed while reading, as sentence -> count. A
            `Count` has examples too.
        unmatched: Judgments that name a missing or empty text, see `require_matched`.
        not_relevant: Query id -> documents with a grade of 0 or below.
        own_documents: Query id -> documents that are the query itself, and no candidates of it.
        absent: Query id -> relevant documents missing from the corpus -> grade. No system can
            find them.
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


def require_ranking(collection: Collection) -> None:
    """Refuse a collection with a single document, which every model ranks first.

    Raises:
        DataError: The corpus has one document.
    """
    if len(collection.corpus) == 1:
        raise DataError(
            f"{collection.domain}: the collection has one document, and so nothing to rank. "
            "Give more documents, or leave it out."
        )


def text_counts(documents: Mapping[str, str], queries: Mapping[str, str]) -> dict[str, int]:
    """Count the texts that an encoder does not get as they are.

    Args:
        documents: Document id -> text.
        queries: Query id -> text.

    Returns:
        Sentence -> count, without counts of 0.
    """
    n_long = sum(map(is_long, (*documents.values(), *queries.values())))
    counts = {
        "documents without text kept": sum(not text.strip() for text in documents.values()),
        f"texts cut after {MAX_CHARACTERS:,} characters": n_long,
    }
    return {sentence: count for sentence, count in counts.items() if count}


def is_long(text: str) -> bool:
    """Return whether a text is cut after MAX_CHARACTERS."""
    return len(text) > MAX_CHARACTERS
