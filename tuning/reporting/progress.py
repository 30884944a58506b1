"""The search as it runs: a live line per trial and one for all."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quantum_rerank.config import ExperimentConfig
from tuning.limits.budgets import TimeBudget
from tuning.records import OBJECTIVE, Clock, TrialEnd
from tuning.reporting.descriptions import duration


@dataclass
class _Running:
    started: float
    label: str
    epoch: int = 0
    objective: float | None = None


class ProgressDisplay:
    """Follows a search; live in a terminal, a line per ended trial elsewhere.

    n_told, best: of the sessions before this one: trials that are over for good, and the
    highest objective with its trial.
    """

    def __init__(
        self,
        console: Console,
        n_trials: int,
        max_epochs: int,
        budget: TimeBudget,
        clock: Clock,
        n_told: int = 0,
        best: tuple[float, int] | None = None,
    ) -> None:
        self._console, self._clock, self._budget = console, clock, budget
        self._n_trials, self._max_epochs = n_trials, max_epochs
        self._n_told, self._started = n_told, clock()
        self._running: dict[int, _Running] = {}
        self._counts = {"complete": 0, "pruned": 0, "failed": 0}
        self._best = best
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

    def say(self, notice: str) -> None:
        """Show a notice until the end."""
        self._notice = notice
        self.print_line(notice)

    def print_line(self, text: str) -> None:
        """Print a line above the display, as it is."""
        self._console.print(Text(text))

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        circuit = config.circuit
        label = f"{config.loss.name}, {circuit.n_qubits} qubits, {circuit.n_layers} layers"
        with self._lock:
            self._running[number] = _Running(self._clock(), label)

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        value = float(metrics[OBJECTIVE])
        with self._lock:
            running = self._running[number]
            running.epoch, running.objective = epoch, value
            if self._best is None or value > self._best[0]:
                self._best = (value, number)

    def trial_ended(self, end: TrialEnd) -> None:
        with self._lock:
            self._running.pop(end.number, None)
            if not end.is_cut_short:  # another attempt continues it, and is counted
                self._counts[end.state] += 1
        value = "" if end.objective is None else f", objective {end.objective:.4f}"
        reason = f" ({end.reason})" if end.reason else ""
        self.print_line(
            f"[{duration(self._budget.elapsed())}] trial {end.number:>3} {end.state:<8} "
            f"epoch {end.epoch}{value}{reason}  {self._summary()}"
        )

    def _summary(self) -> str:
        counts = self._counts
        best = f", best {self._best[0]:.4f} (trial {self._best[1]})" if self._best else ""
        done = self._n_told + sum(counts.values())
        return (
            f"{done}/{self._n_trials} done, {counts['pruned']} pruned, "
            f"{counts['failed']} failed{best}, {self._time_left()} left"
        )

    def _time_left(self) -> str:
        """By what the trials so far took, for those to come, within the budget."""
        done = sum(self._counts.values())
        if not done:
            return f"at most {duration(self._budget.left())}"
        pace = (self._clock() - self._started) / done
        todo = max(self._n_trials - self._n_told - done, 0)
        rest = min(pace * todo, self._budget.left())
        return f"about {duration(rest)}"

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            for number, trial in sorted(self._running.items()):
                table.add_row(*self._row(number, trial))
            summary = Text(self._summary(), style="bold")
        return Group(table, summary, *([Text(self._notice)] if self._notice else []))

    def _row(self, number: int, trial: _Running) -> tuple[RenderableType, ...]:
        bar = ProgressBar(total=self._max_epochs, completed=trial.epoch, width=20)
        value = "warming up" if trial.objective is None else f"{trial.objective:.4f}"
        left = ""
        if trial.epoch:
            spent = self._clock() - trial.started
            rest = spent / trial.epoch * (self._max_epochs - trial.epoch)
            left = f"at most {duration(rest)} left"
        epochs = f"{trial.epoch}/{self._max_epochs}"
        return f"trial {number}", bar, epochs, value, left, Text(trial.label, style="dim")
