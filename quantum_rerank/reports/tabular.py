"""Table of texts, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

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

    def is_text(self, position: int) -> bool:
        """Return whether a column holds texts, by its position."""
        return position == 0 or self.columns[position] in self.texts

    def rich(self) -> Table:
        """Return the table for a terminal."""
        table = Table(title=self.title, title_justify="left", box=None)
        for position, name in enumerate(self.columns):
            justify: Literal["left", "right"] = "left" if self.is_text(position) else "right"
            table.add_column(name, justify=justify, overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table
