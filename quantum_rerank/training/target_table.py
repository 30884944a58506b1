"""Verdicts as a table: every target with its value, its outcome and its formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quantum_rerank.training.targets import TargetResult

if TYPE_CHECKING:
    from rich.table import Table


def verdict_table(title: str, found: Sequence[TargetResult]) -> Table:
    """A row per target, and below it what its value is and what else is to be known."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
    table.add_column("target", no_wrap=True)
    for column in ("value", "asked for"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for one in found:
        told = f"{one.formula} ({one.note})" if one.note else one.formula
        value = "-" if one.value is None else number(one.value)
        asked = f"{one.rule} {number(one.target)}"
        table.add_row(one.name, value, asked, one.outcome, told)
    return table


def number(value: float) -> str:
    """At most four decimals.

    >>> number(100), number(0.05), number(0.84583)
    ('100', '0.05', '0.8458')
    """
    return f"{value:.4f}".rstrip("0").rstrip(".")
