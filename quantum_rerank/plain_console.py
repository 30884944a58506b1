"""Rich consoles and progress bars that show text as it is.

A path, an id or an error message may contain what rich reads as markup (`[/b]`), as an emoji
(`:cat:`), or what a terminal reads as a command. None of it is interpreted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from quantum_rerank.output_streams import shown

Item = TypeVar("Item")

_FILE_WIDTH = 200
"""Columns of a file or a pipe, which has no width of its own. COLUMNS replaces it."""


class PlainConsole(Console):
    """A console without markup, emoji codes and highlighting.

    Where it does not write to a terminal, text that is too long for its column is folded, so
    that a log file has all of it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        self._folds = not self.is_terminal
        if self._folds and "width" not in options and "COLUMNS" not in os.environ:
            self._width = _FILE_WIDTH

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render without control characters, and without an ellipsis in place of text."""
        if isinstance(renderable, Text) and shown(renderable.plain) != renderable.plain:
            renderable = renderable.copy()
            renderable.plain = shown(renderable.plain)
        if self._folds and isinstance(renderable, Table):
            _fold(renderable)
        return super().render(renderable, options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Take a text as it is, without control characters."""
        return super().render_str(shown(text), **options)


class _Description(ProgressColumn):
    """Column with the description of a task."""

    def render(self, task: Task) -> Text:
        return Text(shown(task.description))


def _fold(table: Table) -> None:
    """Let every column fold what is too long for it, those too that are otherwise cut."""
    for column in table.columns:
        column.overflow, column.no_wrap = "fold", False


def make_console(*, stderr: bool = False) -> Console:
    """Make the console that a command prints to."""
    return PlainConsole(stderr=stderr)


def tracked(items: Sequence[Item], description: str) -> Iterator[Item]:
    """Go through items behind a progress bar on standard error, if that is a terminal."""
    console = make_console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with make_progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, description=description)


def make_progress(*columns: ProgressColumn, console: Console, **options: Any) -> Progress:
    """Make progress bars whose first column is the task's description, as it is."""
    return Progress(_Description(), *columns, console=console, **options)
