"""Progress bars of a training run, one for each model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from quantum_rerank.config import DataConfig
from quantum_rerank.plain_console import make_progress
from quantum_rerank.training.data_description import describe
from quantum_rerank.training.few_labels import few_labels
from quantum_rerank.training.models import MeasuredModel
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import PreparedData
from quantum_rerank.workflows.train import RunListener

if TYPE_CHECKING:
    import rich.progress


class TrainingDisplay(RunListener, AbstractContextManager["TrainingDisplay"]):
    """Display of a training run; the bar of a model stays on the screen after its training.

    Args:
        console: Console to print to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: rich.progress.Progress | None = None
        self._task = TaskID(0)
        self._max_epochs = 0

    def __exit__(self, *_: object) -> None:
        """Stop the bar of a training that has failed or was interrupted."""
        self._stop()

    def on_data(self, prepared: PreparedData, config: DataConfig) -> None:
        """Print a description of the data."""
        lines = [*few_labels(prepared.n_train, config), *describe(prepared)]
        self._console.print(*lines, sep="\n", soft_wrap=True)

    def on_start(self, model: str, max_epochs: int) -> None:
        """Show a new bar."""
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._progress = make_progress(*columns, console=self._console)
        self._task = self._progress.add_task(model, total=max_epochs)
        self._max_epochs = max_epochs
        self._progress.start()

    def on_epoch(self, model: str, report: EpochReport) -> None:
        """Advance the bar, and print the warning of a last epoch."""
        total = report.epoch if report.final else self._max_epochs
        text = _description(model, report.metrics["objective"])
        self._update(completed=report.epoch, description=text, total=total)
        if report.warning and report.final:
            self._console.print(f"{model}, epoch {report.epoch}: {report.warning}")

    def on_end(self, model: str, measured: MeasuredModel) -> None:
        """Complete the bar."""
        if self._progress:
            total = self._progress.tasks[self._task].total
            text = _description(model, measured.validation.objective)
            self._update(completed=total, description=text)
        self._stop()

    def on_failure(self, model: str, reason: str) -> None:
        """Print the reason of a failed training."""
        self._stop()
        self._console.print(f"{model} is left out: {reason}")

    def on_message(self, model: str, text: str) -> None:
        """Print a message about a checkpoint."""
        self._console.print(f"{model}: {text}", soft_wrap=True)

    def _update(
        self,
        *,
        completed: float | None = None,
        total: float | None = None,
        description: str | None = None,
    ) -> None:
        if self._progress:
            self._progress.update(
                self._task, completed=completed, total=total, description=description
            )

    def _stop(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None


def _description(model: str, objective: float) -> str:
    return f"{model}: validation objective {objective:.4f}"
