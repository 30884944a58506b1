"""Table of target results: each target with its value, its result and its definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quantum_rerank.evaluation.targets import TargetResult

if TYPE_CHECKING:
    from rich.table import Table


def target_table(title: str, results: Sequence[TargetResult]) -> Table:
    """Return a table with a row for each target.

    Args:
        title: Title of the table.
        results: Results of `evaluate_targets`.
    """
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
    table.add_column("target", no_wrap=True)
    for column in ("value", "required"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("definition", overflow="fold")
    for result in results:
        definition = f"{result.formula} ({result.note})" if result.note else result.formula
        value = "-" if result.value is None else number(result.value)
        required = f"{result.rule} {number(result.target)}"
        table.add_row(result.name, value, required, result.outcome, definition)
    return table


def number(value: float) -> str:
    """Return a number with at most four decimals.

    Args:
        value: The number.

    >>> number(100), number(0.05), number(0.84583)
    ('100', '0.05', '0.8458')
    """
    return f"{value:.4f}".rstrip("0").rstrip(".")
