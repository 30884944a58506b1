"""Columns of a table, found by their configured names."""

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
_DEFAULTS = ColumnsConfig()
# Further names of columns that are accepted while the configured name is the default.
_ALIASES = {
    "query": re.compile("anchor"),
    "positive": re.compile(r"pos|positive_\d+"),
    "negative": re.compile(r"neg|negative_\d+"),
}
# Frequent names of columns, for suggestions in errors.
_LIKELY = {
    "query": ("q", "question", "search", "search_term", "search_query", "keyword", "sentence1"),
    "document": ("doc", "text", "passage", "content", "answer", "product", "title", "sentence2"),
    "label": ("rel", "relevance", "relevant", "grade", "score", "click", "clicks", "judgment"),
}
_SHOWN = 20  # columns listed in an error


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
    """Find the columns of a table.

    Args:
        names: Names of all columns of the table.
        config: Configured names.

    Raises:
        DataError: The table has neither graded documents nor triplets.
    """
    columns = {role: _matching(role, names, config) for role in (*PAIR, *TRIPLET)}
    if all(columns[role] for role in PAIR):
        return PairColumns(*(columns[role][0] for role in PAIR))
    if columns["query"] and columns["positive"]:
        positives, negatives = columns["positive"], columns["negative"]
        return TripletColumns(columns["query"][0], positives, negatives)
    missing = [role for role in PAIR if not columns[role]]
    raise DataError(
        f"the columns are {listed(names)}. {hint(missing, names, config)} "
        "A table has a query, a document and a label per row, or a query, its positive "
        "documents and its negative ones."
    )


def _matching(role: str, names: Sequence[str], config: ColumnsConfig) -> tuple[str, ...]:
    """Return the columns of a role: the configured one, or those with a usual name."""
    configured = getattr(config, role)
    if configured in names:
        exact: tuple[str, ...] = (configured,)
        return exact
    if role not in _ALIASES or configured != getattr(_DEFAULTS, role):
        return ()
    return tuple(name for name in names if _ALIASES[role].fullmatch(name))


def listed(names: Sequence[str]) -> str:
    """Return the first columns of a table as an error shows them."""
    shown = ", ".join(shortened(name) for name in names[:_SHOWN])
    return f"[{shown}{', ...' if len(names) > _SHOWN else ''}]"


def hint(missing: Sequence[str], names: Sequence[str], config: ColumnsConfig) -> str:
    """Return sentences that name the missing columns, and the options that set their names.

    Args:
        missing: Roles without a column.
        names: Names of all columns of the table.
        config: Configured names.
    """
    configured = ", ".join(f"`{getattr(config, role)}`" for role in missing)
    nearest = _nearest(missing, names, config)
    option = ",".join(f"{role}={nearest.get(role, 'NAME')}" for role in missing)
    return (
        f"There is no column {configured}. Name the right one with `--columns {option}`, or in "
        "the configuration with `data.columns`."
    )


def _nearest(
    missing: Sequence[str], names: Sequence[str], config: ColumnsConfig
) -> Mapping[str, str]:
    """Return role -> the column with the most similar name, for roles that have one."""
    nearest: dict[str, str] = {}
    for role in missing:
        likely = [name for name in names if name.lower() in _LIKELY[role]]
        close = difflib.get_close_matches(getattr(config, role), names, n=1, cutoff=0.6)
        if likely or close:
            nearest[role] = (*likely, *close)[0]
    return nearest
