"""Progress of a learning curve: a bar over all trainings, and a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TaskID, TimeElapsedColumn, TimeRemainingColumn

from quantum_rerank.plain_console import make_progress
from quantum_rerank.training.data_description import describe
from quantum_rerank.training.learning_curve import Point, scores_by_role
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import PreparedData
from quantum_rerank.workflows.learning_curve import CurveListener

if TYPE_CHECKING:
    import rich.progress

_WHOLE_TIME = 1e6  # seconds: the time left follows from all trainings, not from the last minute


class CurveDisplay(CurveListener, AbstractContextManager["CurveDisplay"]):
    """Display of a learning curve; the unit of its bar is a training query in an epoch.

    Args:
        console: Console to print to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: rich.progress.Progress | None = None
        self._task = TaskID(0)
        self._trainings: list[tuple[int, int]] = []
        self._n_done = 0
        self._max_epochs = 0

    def __exit__(self, *_: object) -> None:
        """Stop the bar."""
        if self._progress:
            self._progress.stop()

    def on_data(self, prepared: PreparedData) -> None:
        """Print a description of the data."""
        self._console.print(*describe(prepared), sep="\n", soft_wrap=True)

    def on_plan(self, trainings: Sequence[tuple[int, int]], max_epochs: int) -> None:
        """Show the bar."""
        self._trainings, self._max_epochs = list(trainings), max_epochs
        self._progress = make_progress(
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            speed_estimate_period=_WHOLE_TIME,
        )
        total = self._cost(len(trainings))
        self._task = self._progress.add_task(self._description(), total=total)
        self._progress.start()

    def on_epoch(self, report: EpochReport) -> None:
        """Advance the bar."""
        n_queries, _ = self._trainings[self._n_done]
        self._update(self._cost(self._n_done) + n_queries * report.epoch)

    def on_point(self, point: Point) -> None:
        """Advance the bar past a training that may have stopped early, and print its scores."""
        self._n_done += 1
        self._update(self._cost(self._n_done))
        scores = scores_by_role(point.measured).items()
        shown = ", ".join(f"{role} {value:.4f}" for role, value in scores)
        text = f"{point.n_queries} training queries, seed {point.seed}: NDCG@10 {shown}"
        self._console.print(text, soft_wrap=True)

    def _cost(self, n_trainings: int) -> int:
        return self._max_epochs * sum(n for n, _ in self._trainings[:n_trainings])

    def _description(self) -> str:
        return f"training {min(self._n_done + 1, len(self._trainings))} of {len(self._trainings)}"

    def _update(self, completed: int) -> None:
        if self._progress:
            self._progress.update(self._task, completed=completed, description=self._description())
