"""A training's progress on disk: written as it goes, and gone on from after a kill."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from quantum_rerank.errors import BundleError, OutputError
from quantum_rerank.training.progress import progress_bytes, restore
from quantum_rerank.training.trainer import EpochReport, Trainer

SAVING_SHARE = 0.02
"""Of a training's time, what goes into writing its progress down."""
OLDER, UNFINISHED = ".before", ".unfinished"


class ProgressFile:
    """A file that is whole or not there; the one before it stays until the new one is safe."""

    def __init__(self, path: Path) -> None:
        self._path = path

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

    def versions(self) -> Iterator[bytes]:
        """What there is, the newest first."""
        for path in (self._path, self._path.with_name(self._path.name + OLDER)):
            with suppress(FileNotFoundError):
                yield path.read_bytes()


class Paced:
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


def epochs_on_disk(trainer: Trainer, file: ProgressFile) -> Iterator[EpochReport]:
    """The epochs of a training that outlives its process; each may be the last one seen.

    What an earlier process has trained is reported again, not trained again.
    """
    reports = _restored(trainer, file)
    yield from tuple(reports)
    saving = Paced(SAVING_SHARE)
    for report in trainer.epochs():
        reports.append(report)
        with saving as due:
            if due or report.final:
                record = {"reports": [asdict(one) for one in reports]}
                file.write(progress_bytes(trainer, record))
        yield report


def _restored(trainer: Trainer, file: ProgressFile) -> list[EpochReport]:
    """Take up the newest version that can be read; the epochs until then, or none."""
    for content in file.versions():
        with suppress(BundleError):  # cut off or altered: the one before it, or from the start
            return [EpochReport(**one) for one in restore(trainer, content)["reports"]]
    return []
