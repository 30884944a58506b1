"""A table of small records by two names, and its compact form in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

Cell = TypeVar("Cell")


@dataclass(frozen=True)
class Grid(Generic[Cell]):
    """Cells by row and column; a missing cell was not measured.

    Attributes:
        rows: The names of the rows.
        columns: The names of the columns.
        cells: (row, column) -> a dataclass of numbers, whose first field is never None.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]

    @classmethod
    def of(cls, cells: Mapping[tuple[str, str], Cell]) -> Grid[Cell]:
        """Return a grid with the rows and columns in the order of its cells."""
        return cls(_distinct(row for row, _ in cells), _distinct(name for _, name in cells), cells)

    def row(self, name: str) -> dict[str, Cell]:
        """Return the cells of a row by column."""
        return {
            column: self.cells[name, column]
            for column in self.columns
            if (name, column) in self.cells
        }

    def column(self, name: str) -> dict[str, Cell]:
        """Return the cells of a column by row."""
        return {row: self.cells[row, name] for row in self.rows if (row, name) in self.cells}

    def as_json(self) -> dict[str, Any]:
        """Return the grid as one matrix for each field of its cells, null where one is missing.

        >>> from experiments.summary import Mean
        >>> cells = {("a", "x"): Mean(0.5, None, 1), ("b", "y"): Mean(1.0, None, 1)}
        >>> Grid.of(cells).as_json()["mean"]
        [[0.5, None], [None, 1.0]]
        """
        names = [field.name for cell in self.cells.values() for field in fields(cell)]  # type: ignore[arg-type]
        return {
            "rows": list(self.rows),
            "columns": list(self.columns),
            **{
                name: [
                    [getattr(self.cells.get((row, column)), name, None) for column in self.columns]
                    for row in self.rows
                ]
                for name in dict.fromkeys(names)
            },
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], kind: type[Cell]) -> Grid[Cell]:
        """Return the grid that `as_json` wrote.

        Args:
            record: The JSON object.
            kind: The dataclass of a cell.
        """
        rows, columns = tuple(record["rows"]), tuple(record["columns"])
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        cells = {
            (row, column): kind(**{name: record[name][i][j] for name in names})
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
            if rows and record[names[0]][i][j] is not None
        }
        return cls(rows, columns, cells)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
