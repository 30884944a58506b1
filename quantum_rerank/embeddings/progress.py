"""The progress bar of an embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

Track = Callable[[range], Iterable[int]]
"""Yields the numbers of a range, and moves the progress bar with each of them."""


@dataclass(frozen=True)
class EmbeddingProgress:
    """The progress bar of an embedding.

    Attributes:
        label: Name of the embedded texts.
        is_shown: Whether the bar is shown.
    """

    label: str
    is_shown: bool

    @contextmanager
    def shown(self) -> Iterator[Track]:
        """Show the bar on standard error, since other programs may read standard output."""
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

        from quantum_rerank.plain_console import make_console, make_progress

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = make_console(stderr=True)
        with make_progress(*columns, disable=not self.is_shown, console=console) as progress:
            yield partial(progress.track, description=f"embedding {self.label}")
