"""Helpers of all benchmarks: calls timed in turns, tables with a spread, JSON."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from quantum_rerank.machine import machine

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")]


@dataclass(frozen=True)
class Spread:
    """The median and the middle half of some measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of measurements."""
        low, median, high = (
            statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        )
        return cls(median, low, high)

    def cells(self, digits: int) -> tuple[str, str]:
        """Return the median and the middle half as texts."""
        return f"{self.median:.{digits}f}", f"{self.low:.{digits}f} to {self.high:.{digits}f}"


def in_turns(
    calls: Mapping[str, Callable[[], Any]], repeats: int, burst: int = 1
) -> dict[str, Spread]:
    """Return the milliseconds of each call, timed in turns so that noise affects all of them.

    Each call runs once without measurement first.

    Args:
        calls: Name -> call.
        repeats: The number of turns.
        burst: The number of repetitions of a call in a turn. If there are more than one, the
            first is not measured, since the caches contain the data of other calls.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            values = [milliseconds(call) for _ in range(burst)]
            taken[name] += values[1:] or values
    return {name: Spread.of(values) for name, values in taken.items()}


def milliseconds(call: Callable[[], Any]) -> float:
    """Return the milliseconds of a call."""
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose first column is text, and the other columns numbers."""
    result = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        result.add_column(column, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        result.add_row(*row)
    return result


def show(record: Mapping[str, Any], tables: Sequence[Table], as_json: bool) -> None:
    """Print the results as a JSON object, or as tables with the machine below them."""
    if as_json:
        print(json.dumps({**record, "machine": machine()}))
        return
    console = Console(width=None if Console().is_terminal else 160)
    for item in tables:
        console.print(item)
    console.print(machine(), style="dim", highlight=False, soft_wrap=True)
