"""Columns of a table, found by the names that the configuration gives."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantum_rerank.datasets.config import ColumnsConfig
from quantum_rerank.datasets.text_files import shortened
from quantum_rerank.errors import DataError

PAIR = ("query", "document", "label")
TRIPLET = ("query", "positive", "negative")
_USUAL = ColumnsConfig()
# What a column may be called as well, as long as the configuration has the default name.
_ALIASES = {
    "query": re.compile("anchor"),
    "positive": re.compile(r"pos|positive_\d+"),
    "negative": re.compile(r"neg|negative_\d+"),
}
# What a column is often called elsewhere, for suggestions.
_LIKELY = {
    "query": ("q", "question", "search", "search_term", "search_query", "keyword", "sentence1"),
    "document": ("doc", "text", "passage", "content", "answer", "product", "title", "sentence2"),
    "label": ("rel", "relevance", "relevant", "grade", "score", "click", "clicks", "judgment"),
}
_SHOWN = 20  # columns that an error lists


@dataclass(frozen=True)
class PairColumns:
    """Names of the columns of a table with a graded document per row."""

    query: str
    document: str
    label: str


@dataclass(frozen=True)
class TripletColumns:
    """Names of the columns of a table with a query and its documents per row."""

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


def table_columns(names: Sequence[str], config: ColumnsConfig) -> PairColumns | TripletColumns:
    """Find the columns of a table that are read.

    Args:
        names: all columns of the table.
        config: what they are called.
    Raises: DataError where it is a table of neither kind.
    """
    columns = {role: _named(role, names, config) for role in (*PAIR, *TRIPLET)}
    if all(columns[role] for role in PAIR):
        return PairColumns(*(columns[role][0] for role in PAIR))
    if columns["query"] and columns["positive"]:
        positives, negatives = columns["positive"], columns["negative"]
        return TripletColumns(columns["query"][0], positives, negatives)
    lacking = [role for role in PAIR if not columns[role]]
    raise DataError(
        f"the columns are {listed(names)}. {hint(lacking, names, config)} "
        "A table has a query, a document and a label per row, or a query, its positive "
        "documents and its negative ones."
    )


def _named(role: str, names: Sequence[str], config: ColumnsConfig) -> tuple[str, ...]:
    wanted = getattr(config, role)
    if wanted in names:
        exact: tuple[str, ...] = (wanted,)
        return exact
    if role not in _ALIASES or wanted != getattr(_USUAL, role):
        return ()
    return tuple(name for name in names if _ALIASES[role].fullmatch(name))


def listed(names: Sequence[str]) -> str:
    """The first columns of a table, as an error shows them."""
    shown = ", ".join(shortened(name) for name in names[:_SHOWN])
    return f"[{shown}{', ...' if len(names) > _SHOWN else ''}]"


def hint(lacking: Sequence[str], names: Sequence[str], config: ColumnsConfig) -> str:
    """Name the missing columns, and how to give their names."""
    wanted = ", ".join(f"`{getattr(config, role)}`" for role in lacking)
    nearest = _nearest(lacking, names, config)
    given = ",".join(f"{role}={nearest.get(role, 'NAME')}" for role in lacking)
    return (
        f"There is no column {wanted}. Name the right one with `--columns {given}`, or in "
        "the configuration with `data.columns`."
    )


def _nearest(
    lacking: Sequence[str], names: Sequence[str], config: ColumnsConfig
) -> Mapping[str, str]:
    """Role -> the column whose name is most like what is looked for, where one is."""
    nearest: dict[str, str] = {}
    for role in lacking:
        likely = [name for name in names if name.lower() in _LIKELY[role]]
        close = difflib.get_close_matches(getattr(config, role), names, n=1, cutoff=0.6)
        if likely or close:
            nearest[role] = (*likely, *close)[0]
    return nearest
