"""Rows of tables with typed columns, of both layouts, as judged pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantum_rerank.datasets.columns import PairColumns, TripletColumns
from quantum_rerank.datasets.json_lines import is_missing
from quantum_rerank.datasets.judged_pairs import JudgedPair
from quantum_rerank.datasets.text_files import shortened
from quantum_rerank.errors import DataError

RELEVANT, NOT_RELEVANT = 1, 0


def columns_read(columns: PairColumns | TripletColumns) -> list[str]:
    """Return the names of the columns that `pairs_of_row` needs."""
    if isinstance(columns, PairColumns):
        return [columns.query, columns.document, columns.label]
    return [columns.query, *columns.positives, *columns.negatives]


def pairs_of_row(row: Mapping[str, Any], columns: PairColumns | TripletColumns) -> list[JudgedPair]:
    """Return the judged pairs of a row.

    Args:
        row: Name of a column -> value.
        columns: Columns of a graded document, or of a query with its positives and negatives.

    Raises:
        DataError: A value has the wrong type.
    """
    if isinstance(columns, PairColumns):
        return [JudgedPair(row[columns.query], row[columns.document], row[columns.label])]
    positives = [text for name in columns.positives for text in _texts(name, row[name])]
    negatives = [text for name in columns.negatives for text in _texts(name, row[name])]
    return pairs_of_triplet(row[columns.query], positives, negatives)


def pairs_of_triplet(
    query: object, positives: Sequence[object], negatives: Sequence[object]
) -> list[JudgedPair]:
    """Return the judged pairs of a query.

    Args:
        query: Text of the query.
        positives: Documents that are relevant to it.
        negatives: Documents that are not. Without any document the result is one pair without
            a document, so that the row is counted.
    """
    if not positives and not negatives:
        return [JudgedPair(query, None, NOT_RELEVANT)]
    return [
        *(JudgedPair(query, document, RELEVANT) for document in positives),
        *(JudgedPair(query, document, NOT_RELEVANT) for document in negatives),
    ]


def _texts(name: str, value: object) -> list[object]:
    """Return a text, or the texts of a list; none if the value is missing."""
    if is_missing(value):
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise DataError(f"`{name}` is {shortened(value)}, but must be a text or a list of texts.")
    return value
