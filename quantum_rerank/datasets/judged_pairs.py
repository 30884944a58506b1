"""Pairs of texts with a grade, row by row, as a collection. Ids follow from the texts."""

from __future__ import annotations

from hashlib import sha256

from quantum_rerank.datasets.collection import NO_QUERY, Collection, Unmatched, checked
from quantum_rerank.datasets.counts import Tally
from quantum_rerank.datasets.judgments import Judgments, grade_of, refuse_shared
from quantum_rerank.datasets.text_files import is_encodable, is_missing, shortened
from quantum_rerank.errors import DataError


class JudgedPairs:
    """Collects the rows of a table.

    The same text, without the white space around it, is the same query or document.
    """

    def __init__(self) -> None:
        self._judgments = Judgments()  # by text, so that its errors show texts
        self._documents: dict[str, None] = {}
        self._splits: dict[str, set[str]] = {}
        self._n_rows = 0
        self._no_query, self._no_document = Tally(), Tally()

    def add(
        self, place: str, query: object, document: object, label: object, split: str | None = None
    ) -> None:
        """Take in one row.

        Args:
            place: where the row is, such as `line 5`, for the counts.
            query, document: texts; a row where one is missing or blank is counted, not taken in.
            label: a whole grade, see `grade_of`.
            split: official split of the query.
        Raises: DataError where a value is of another kind, or the pair has another grade.
        """
        self._n_rows += 1
        query, document = _text("query", query), _text("document", document)
        if not query:
            self._no_query.add(place)
        elif not document:
            self._no_document.add(place)
        else:
            self._judgments.add(query, document, grade_of(label))
            self._documents[document] = None
            if split:
                self._splits.setdefault(split, set()).add(query)

    def collection(self, domain: str, counts: dict[str, int] | None = None) -> Collection:
        """The rows as a collection, whose corpus are the documents of all rows.

        counts: what else was not taken as it was given.
        """
        queries = {text: text for text in self._judgments.qrels}
        if len(self._splits) > 1:
            refuse_shared(self._splits, domain)
            self._judgments.keep_official(self._splits)
        judged, said = self._judgments.of_known(queries)
        said |= self._no_query.as_counts(NO_QUERY)
        said |= self._no_document.as_counts("rows without a document left out")
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
                skipped=said | (counts or {}),
                unmatched=self._unmatched(),
            )
        )

    def _unmatched(self) -> Unmatched:
        number = self._no_query.number
        return Unmatched(number, self._n_rows) if number else Unmatched()


def _text(role: str, value: object) -> str:
    """A text without the white space around it; empty where there is none."""
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise DataError(f"the {role} is {shortened(value)}, but must be text.")
    if not is_encodable(value):
        raise DataError(f"the {role} has half a surrogate pair, which is no text.")
    return value.strip()


def _id(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
