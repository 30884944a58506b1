"""Display of trainings at the end of a search: live, or a line per ended training."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from tuning.records import Listener, TrainingsState
from tuning.reporting.descriptions import duration

_LEAST_SHARE = 0.02  # of the work that is done before the time left is estimated


class TrainingsDisplay(Listener):
    """Display that follows the trainings of the conclusion.

    Args:
        console: Console to print to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: TrainingsState | None = None
        self._n_ended = 0
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> TrainingsDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def trainings_ran(self, state: TrainingsState) -> None:
        """Show a state, or print it if a training has ended."""
        self._running = state if state.n_ended < state.n_all else None
        if not self._console.is_terminal and state.n_ended > self._n_ended:
            self._console.print(describe_trainings(state))
        self._n_ended = state.n_ended

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 1))
        if state := self._running:
            bar = ProgressBar(total=1.0, completed=state.share, width=20)
            table.add_row(bar, describe_trainings(state))
        return table


def describe_trainings(state: TrainingsState) -> str:
    """Return the state of trainings in words.

    >>> describe_trainings(TrainingsState("confirming", 6, 3, 2, 0.6, 90.0))
    'confirming: 3 of 6 trainings done, about 1:00 left'
    """
    left = ""
    if state.n_ended < state.n_all and state.share >= _LEAST_SHARE:
        seconds = state.seconds * (1.0 - state.share) / state.share
        left = f", about {duration(seconds)} left"
    return f"{state.purpose}: {state.n_ended} of {state.n_all} trainings done{left}"
