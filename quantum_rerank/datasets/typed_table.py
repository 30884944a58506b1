"""Rows of tables with typed columns as judged pairs, for the two ways that tables are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantum_rerank.datasets.columns import PairColumns, TripletColumns
from quantum_rerank.datasets.judged_pairs import JudgedPairs
from quantum_rerank.datasets.text_files import is_missing, shortened
from quantum_rerank.errors import DataError

RELEVANT, NOT_RELEVANT = 1, 0


def columns_read(columns: PairColumns | TripletColumns) -> list[str]:
    """The names of the columns that `add_row` needs."""
    if isinstance(columns, PairColumns):
        return [columns.query, columns.document, columns.label]
    return [columns.query, *columns.positives, *columns.negatives]


def add_row(
    pairs: JudgedPairs,
    place: str,
    row: Mapping[str, Any],
    columns: PairColumns | TripletColumns,
    split: str | None = None,
) -> None:
    """Take in one row: a graded document, or a query with its positives and negatives.

    Args:
        place, split: see `JudgedPairs.add`.
    Raises: DataError where a value is of a wrong kind.
    """
    if isinstance(columns, PairColumns):
        pairs.add(place, row[columns.query], row[columns.document], row[columns.label], split)
        return
    positives = [text for name in columns.positives for text in _texts(name, row[name])]
    negatives = [text for name in columns.negatives for text in _texts(name, row[name])]
    add_triplet(pairs, place, row[columns.query], positives, negatives, split)


def add_triplet(
    pairs: JudgedPairs,
    place: str,
    query: object,
    positives: Sequence[object],
    negatives: Sequence[object],
    split: str | None = None,
) -> None:
    """Take in a query with documents that are relevant to it, and others that are not."""
    for document in positives:
        pairs.add(place, query, document, RELEVANT, split)
    for document in negatives:
        pairs.add(place, query, document, NOT_RELEVANT, split)
    if not positives and not negatives:
        pairs.add(place, query, None, NOT_RELEVANT, split)  # is counted


def _texts(name: str, value: object) -> list[object]:
    """A text, or the texts of a list; none where the value is missing."""
    if is_missing(value):
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise DataError(f"`{name}` is {shortened(value)}, but must be a text or a list of texts.")
    return value
