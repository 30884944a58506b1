"""Display of a search as it runs: a live line per trial and one for all."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quantum_rerank.config import ExperimentConfig, flat
from tuning.records import OBJECTIVE, Listener, TrialEnd, TrialOutcome
from tuning.reporting.descriptions import describe_config, duration, time_left
from tuning.reporting.live_forecast import LiveForecast
from tuning.study.trials import highest
from tuning.study.view import StudyView


class BestSoFar(NamedTuple):
    """Highest objective so far, and its trial."""

    objective: float
    trial: int


@dataclass
class _Running:
    label: str
    epoch: int = 0
    objective: float | None = None


class ProgressDisplay(Listener):
    """Display that follows a search: live in a terminal, a line per ended trial elsewhere.

    Args:
        console: Console to print to.
        forecast: Forecast of the time left, which this display feeds.
        best: Highest objective of earlier sessions.
    """

    def __init__(
        self, console: Console, forecast: LiveForecast, best: BestSoFar | None = None
    ) -> None:
        self._console, self._forecast, self._best = console, forecast, best
        self._n_previous = forecast.n_finished
        self._running: dict[int, _Running] = {}
        self._counts = dict.fromkeys(TrialOutcome, 0)
        self._notice = ""
        self._lock = threading.RLock()  # a signal's handler shows a notice at any moment
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show_notice(self, notice: str) -> None:
        """Print a notice, and show it until the end."""
        self._notice = notice
        self.print_line(notice)

    def show_early_end(self, notice: str) -> None:
        """Print that no further trial is proposed, and forecast accordingly."""
        self._forecast.expect_no_further_trial()
        self.show_notice(notice)

    def early_estimate(self) -> float | None:
        """Return the seconds that the search was expected to take after a quarter of its trials."""
        return self._forecast.early_estimate()

    def print_line(self, text: str) -> None:
        """Print a line above the display, as it is."""
        self._console.print(Text(text))

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Add a line for a trial."""
        with self._lock:
            self._forecast.trial_started(number, config)
            self._running[number] = _Running(describe_config(flat(config)))

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Show the epoch and the objective of a trial."""
        value = float(metrics[OBJECTIVE])
        with self._lock:
            self._forecast.trial_reported(number, epoch, metrics)
            running = self._running[number]
            running.epoch, running.objective = epoch, value
            if self._best is None or value > self._best.objective:
                self._best = BestSoFar(value, number)

    def trial_ended(self, end: TrialEnd) -> None:
        """Remove the line of a trial, and print how it ended."""
        with self._lock:
            self._forecast.trial_ended(end)
            self._running.pop(end.number, None)
            if not end.is_cut_short:  # another attempt continues it, and is counted
                self._counts[end.outcome] += 1
        value = "" if end.objective is None else f", objective {end.objective:.4f}"
        reason = f" ({end.failure})" if end.failure else ""
        self.print_line(
            f"[{duration(self._forecast.elapsed())}] trial {end.number:>3} {end.outcome:<8} "
            f"epoch {end.epoch}{value}{reason}  {self._summary()}"
        )

    def _summary(self) -> str:
        counts = self._counts
        best = f", best {self._best.objective:.4f} (trial {self._best.trial})" if self._best else ""
        n_done = self._n_previous + sum(counts.values())
        left = time_left(self._forecast(), self._forecast.seconds_left())
        return (
            f"{n_done}/{self._forecast.budget.trials} done, {counts[TrialOutcome.PRUNED]} pruned, "
            f"{counts[TrialOutcome.FAILED]} failed{best}, {left} left"
        )

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            for number, trial in sorted(self._running.items()):
                table.add_row(*self._row(number, trial))
            summary = Text(self._summary(), style="bold")
        return Group(table, summary, *([Text(self._notice)] if self._notice else []))

    def _row(self, number: int, trial: _Running) -> tuple[RenderableType, ...]:
        max_epochs = self._forecast.budget.epochs
        bar = ProgressBar(total=max_epochs, completed=trial.epoch, width=20)
        value = "warming up" if trial.objective is None else f"{trial.objective:.4f}"
        epochs = f"{trial.epoch}/{max_epochs}"
        return f"trial {number}", bar, epochs, value, Text(trial.label, style="dim")


def best_so_far(view: StudyView) -> BestSoFar | None:
    """Return the highest objective of the trials of a search; None before the first epoch."""
    values = [(highest(trial), trial.number) for trial in view.searched()]
    reported = [BestSoFar(value, number) for value, number in values if value is not None]
    return max(reported, key=lambda best: best.objective, default=None)
