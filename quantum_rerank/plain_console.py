"""Rich consoles and progress bars that print text literally.

A path, an id or an error message may contain markup of rich (`[/b]`), the code of an emoji
(`:cat:`), or a control sequence of the terminal. None of them is interpreted.
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

from quantum_rerank.plain_text import shown

Item = TypeVar("Item")

_FILE_WIDTH = 200
"""Width of a file or a pipe in columns, unless COLUMNS is set."""


class PlainConsole(Console):
    """Console without markup, emoji codes and highlighting.

    If it does not write to a terminal, text that is too long for its column is folded, so that a
    log file holds all of it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        self._folds = not self.is_terminal
        if self._folds and "width" not in options and "COLUMNS" not in os.environ:
            self._width = _FILE_WIDTH

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render without control characters, and fold long text instead of cutting it."""
        if isinstance(renderable, Text) and shown(renderable.plain) != renderable.plain:
            renderable = renderable.copy()
            renderable.plain = shown(renderable.plain)
        if self._folds and isinstance(renderable, Table):
            _fold(renderable)
        return super().render(renderable, options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text literally, without control characters."""
        return super().render_str(shown(text), **options)


class _Description(ProgressColumn):
    """Column with the description of a task."""

    def render(self, task: Task) -> Text:
        return Text(shown(task.description))


def _fold(table: Table) -> None:
    """Let every column fold text that is too long for it, instead of cutting it."""
    for column in table.columns:
        column.overflow, column.no_wrap = "fold", False


def make_console(*, stderr: bool = False) -> Console:
    """Return the console that a command prints to.

    Args:
        stderr: Print to standard error.
    """
    return PlainConsole(stderr=stderr)


def tracked(items: Sequence[Item], description: str) -> Iterator[Item]:
    """Yield items behind a progress bar on standard error, if that is a terminal.

    Args:
        items: Items to count.
        description: Text before the bar.
    """
    console = make_console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with make_progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, description=description)


def make_progress(*columns: ProgressColumn, console: Console, **options: Any) -> Progress:
    """Return progress bars with the literal description of the task as the first column.

    Args:
        columns: Columns after the description.
        console: Console to print to.
        options: Further options of `rich.progress.Progress`.
    """
    return Progress(_Description(), *columns, console=console, **options)
