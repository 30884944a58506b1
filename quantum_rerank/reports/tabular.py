"""Table of texts, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Tabular:
    """Table of texts.

    Attributes:
        title: Title above the table.
        columns: Names of the columns.
        rows: Cells, a tuple per row.
        texts: Names of columns beside the first that are aligned to the left, as texts are;
            the others hold numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: Collection[str] = ()

    def rich(self) -> Table:
        """Return the table for a terminal."""
        table = Table(title=self.title, title_justify="left", box=None)
        for position, name in enumerate(self.columns):
            is_text = position == 0 or name in self.texts
            table.add_column(name, justify="left" if is_text else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table
