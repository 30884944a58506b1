"""Judged pairs of texts, collected row by row. Ids are hashes of the texts."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from quantum_rerank.datasets.checks import checked
from quantum_rerank.datasets.collection import Collection, Unmatched
from quantum_rerank.datasets.counts import Tally
from quantum_rerank.datasets.json_lines import is_missing
from quantum_rerank.datasets.judgments import Judgments, grade_of, refuse_shared
from quantum_rerank.datasets.text_files import is_encodable, shortened
from quantum_rerank.datasets.unmatched import NO_QUERY
from quantum_rerank.errors import DataError


class JudgedPair(NamedTuple):
    """A row of a table, with values of any type.

    Attributes:
        query: Text of the query.
        document: Text of the document.
        label: A whole grade, see `grade_of`.
    """

    query: object
    document: object
    label: object


class JudgedPairs:
    """A collector of judged pairs.

    Equal texts, without the white space around them, are the same query or document.
    """

    def __init__(self) -> None:
        self._judgments = Judgments()  # by text, so that its errors show texts
        self._documents: dict[str, None] = {}
        self._splits: dict[str, set[str]] = {}
        self._n_rows = 0
        self._no_query, self._no_document = Tally(), Tally()

    def add(self, place: str, pair: JudgedPair, split: str | None = None) -> None:
        """Add a pair. A pair without a query or a document is counted, and left out.

        Args:
            place: Place of the row, such as `line 5`, for the examples of counts.
            pair: Query, document and label.
            split: Official split of the query.

        Raises:
            DataError: A value has the wrong type, or the pair has another grade already.
        """
        self._n_rows += 1
        query, document = _text("query", pair.query), _text("document", pair.document)
        if not query:
            self._no_query.add(place)
        elif not document:
            self._no_document.add(place)
        else:
            self._judgments.add(query, document, grade_of(pair.label))
            self._documents[document] = None
            if split:
                self._splits.setdefault(split, set()).add(query)

    def collection(self, domain: str, counts: Mapping[str, int] | None = None) -> Collection:
        """Return the collection of all pairs. Its corpus is the documents of all pairs.

        Args:
            domain: Domain of the collection.
            counts: Further counts of what was left out or changed.

        Raises:
            DataError: The collection is invalid, see `checked`, or official splits share a
                query.
        """
        queries = {text: text for text in self._judgments.qrels}
        if len(self._splits) > 1:
            refuse_shared(self._splits, domain)
            self._judgments.keep_official(self._splits)
        judged, skipped = self._judgments.judged(queries)
        skipped |= self._no_query.as_counts(NO_QUERY)
        skipped |= self._no_document.as_counts("rows without a document left out")
        return checked(
            Collection(
                domain=domain,
                corpus={_id(text): text for text in self._documents},
                queries={_id(text): text for text in judged},
                qrels={
                    _id(query): {_id(document): grade for document, grade in grades.items()}
                    for query, grades in self._judgments.qrels.items()
                },
                official={
                    split: frozenset(map(_id, queries))
                    for split, queries in self._judgments.official.items()
                },
                skipped={**skipped, **(counts or {})},
                unmatched=self._unmatched(),
            )
        )

    def _unmatched(self) -> Unmatched:
        number = self._no_query.number
        return Unmatched(number, self._n_rows) if number else Unmatched()


def _text(role: str, value: object) -> str:
    """Return a text without the white space around it; empty if the value is missing."""
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise DataError(f"the {role} is {shortened(value)}, but must be text.")
    if not is_encodable(value):
        raise DataError(f"the {role} has half a surrogate pair, which is not Unicode. Correct it.")
    return value.strip()


def _id(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
