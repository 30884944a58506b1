"""Checkpoints of a training on disk, from which it resumes after a kill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from quantum_rerank.atomic import LocalFiles, output_errors, read_versions, write_version
from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import BundleError
from quantum_rerank.regular_files import reason
from quantum_rerank.training.checkpoint import (
    MADE_BY,
    checkpoint_bytes,
    record_of,
    restore,
    settings_fingerprint,
)
from quantum_rerank.training.trainer import EpochReport, Trainer

SAVING_SHARE = 0.02
"""Share of a training's time that is spent on writing checkpoints."""

_REPORTS = TypeAdapter(Annotated[list[EpochReport], Field(min_length=1)])

log = logging.getLogger(__name__)


class CheckpointFile:
    """A file that is replaced atomically; its previous version is retained.

    Args:
        path: The file.
        notify: Called with a sentence for each version that cannot be resumed from, and with
            one for the outcome.
    """

    def __init__(self, path: Path, notify: Callable[[str], None] = log.warning) -> None:
        self._path, self.notify = path, notify

    def write(self, content: bytes) -> None:
        """Write a new version.

        Args:
            content: The bytes.

        Raises:
            OutputError: The file cannot be written.
        """
        with output_errors(self._path):
            write_version(LocalFiles(), str(self._path), content)

    def versions(self) -> Iterator[tuple[Path, bytes]]:
        """Yield the path and the bytes of each version, the newest first.

        Raises:
            BundleError: A version exists and cannot be read.
        """
        try:
            for path, content in read_versions(LocalFiles(), str(self._path)):
                yield Path(path), content
        except OSError as error:
            raise BundleError(f"`{self._path}` cannot be read: {reason(error)}.") from None


class SaveThrottle:
    """Limits the time that is spent on saving to a share of the total.

    A context manager: the value is True if a save is due, and the block's duration counts.

    Args:
        share: Share of the time that saves may take.
        clock: Returns seconds.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share, self._clock = share, clock
        self._due = self._started = clock()

    def __enter__(self) -> bool:
        self._started = self._clock()
        return self._started >= self._due

    def __exit__(self, *_: object) -> None:
        if self._started >= self._due:
            now = self._clock()
            self._due = now + (now - self._started) / self._share


def resumable_epochs(
    trainer: Trainer, file: CheckpointFile, config: ExperimentConfig
) -> Iterator[EpochReport]:
    """Train epoch by epoch and write checkpoints, from which another process resumes.

    The epochs that an earlier process trained are reported again, but not trained again.

    Args:
        trainer: A training before its first epoch.
        file: Its checkpoints. Those of another configuration are skipped with a message.
        config: Configuration of the training.

    Yields:
        A report for each epoch.
    """
    maker = {"settings": settings_fingerprint(config)}
    reports = _restored(trainer, file, maker)
    yield from tuple(reports)
    saving = SaveThrottle(SAVING_SHARE)
    for report in trainer.epochs():
        reports.append(report)
        with saving as due:
            if due or report.final:
                record = {MADE_BY: maker, "reports": [asdict(done) for done in reports]}
                file.write(checkpoint_bytes(trainer, record))
        yield report


def _restored(
    trainer: Trainer, file: CheckpointFile, maker: Mapping[str, Any]
) -> list[EpochReport]:
    """Restore the newest usable version and return the reports of its epochs, if there is one."""
    skipped = False
    for path, content in file.versions():
        try:
            reports = _REPORTS.validate_python(record_of(content).get("reports"))
            restore(trainer, content, maker)
        except (BundleError, ValueError) as error:  # cut off, altered, of another version
            file.notify(f"`{path}` is skipped: {error}")
            skipped = True
            continue
        if skipped:
            file.notify(f"Resuming from `{path}`, after epoch {reports[-1].epoch}.")
        return reports
    if skipped:
        file.notify("Starting again from the first epoch: no checkpoint could be resumed from.")
    return []
