"""A training's progress on disk: written as it goes, and gone on from after a kill."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import BundleError, OutputError
from quantum_rerank.training.checkpoint import (
    MADE_BY,
    checkpoint_bytes,
    restore,
    settings_fingerprint,
)
from quantum_rerank.training.trainer import EpochReport, Trainer

SAVING_SHARE = 0.02
"""Of a training's time, what goes into writing its progress down."""
OLDER, UNFINISHED = ".before", ".unfinished"

log = logging.getLogger(__name__)


class CheckpointFile:
    """A file that is whole or not there; the one before it stays until the new one is safe.

    tell: hears, a sentence at a time, what could not be gone on from, and what came of that.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] = log.warning) -> None:
        self._path, self.tell = path, tell

    def write(self, content: bytes) -> None:
        """Put a new version in place.

        Raises: OutputError if it cannot be written.
        """
        unfinished = self._path.with_name(self._path.name + UNFINISHED)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # or the names could be on the disk before the bytes
            if self._path.exists():
                self._path.replace(self._path.with_name(self._path.name + OLDER))
            unfinished.replace(self._path)
        except OSError as error:
            raise OutputError(f"`{self._path}` cannot be written: {error.strerror}.") from None

    def versions(self) -> Iterator[tuple[Path, bytes]]:
        """What there is, the newest first, and where."""
        for path in (self._path, self._path.with_name(self._path.name + OLDER)):
            with suppress(FileNotFoundError):
                yield path, path.read_bytes()


class SaveThrottle:
    """Lets something be done as often as it takes up at most a share of the time."""

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
    """The epochs of a training that outlives its process; each may be the last one seen.

    What an earlier process has trained is reported again, not trained again.
    config: of the training; what was written by one with another is not gone on from.
    """
    maker = {"settings": settings_fingerprint(config)}
    reports = _restored(trainer, file, maker)
    yield from tuple(reports)
    saving = SaveThrottle(SAVING_SHARE)
    for report in trainer.epochs():
        reports.append(report)
        with saving as due:
            if due or report.final:
                record = {MADE_BY: maker, "reports": [asdict(one) for one in reports]}
                file.write(checkpoint_bytes(trainer, record))
        yield report


def _restored(
    trainer: Trainer, file: CheckpointFile, maker: Mapping[str, Any]
) -> list[EpochReport]:
    """Take up the newest version that can be gone on from; the epochs until then, or none."""
    passed_over = False
    for path, content in file.versions():
        try:
            record = restore(trainer, content, maker)
            reports = [EpochReport(**one) for one in record["reports"]]
        except BundleError as error:  # cut off, altered, of another configuration or version
            file.tell(f"`{path}` is passed over: {error}")
            passed_over = True
            continue
        if passed_over:
            file.tell(f"Goes on from `{path}`, after epoch {reports[-1].epoch}.")
        return reports
    if passed_over:
        file.tell("Starts over from the first epoch: nothing written down could be gone on from.")
    return []
