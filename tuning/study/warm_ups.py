"""Warm-ups that the trials of a run share, in a folder beside those of its trials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from quantum_rerank.errors import FilesError
from tuning.study.trial_files import TrialFiles

WARM_UPS = "warm_ups"  # below the root of the trials' files
_WEIGHTS = "weights.safetensors"
_MOST = 200  # warm-ups that are kept: some 2 MB each


@dataclass(frozen=True)
class SharedWarmUps:
    """Finished warm-ups of a run, see `WarmUpStore`.

    Attributes:
        root: Root of the run's `TrialFiles`.
        run: Identifier of the run.
    """

    root: str
    run: str

    def versions(self, key: str) -> Iterator[bytes]:
        """Yield the versions of a warm-up, the newest first.

        Args:
            key: Key of the warm-up.

        Raises:
            FilesError: The root cannot be reached.
        """
        yield from self._files().versions(key, _WEIGHTS)

    def write(self, key: str, content: bytes) -> None:
        """Write a warm-up; the oldest ones give it their place.

        Args:
            key: Key of the warm-up.
            content: Its bytes.

        Raises:
            FilesError: The root cannot be reached or is full, or another trial writes the same.
        """
        files = self._files()
        files.write(key, _WEIGHTS, content)
        for oldest in files.by_age()[:-_MOST]:
            files.remove(oldest)

    def remove(self) -> None:
        """Delete all warm-ups, which nothing needs after the end of a search."""
        with suppress(FilesError):  # what stays takes space, and harms nothing
            files = self._files()
            for key in files.by_age():
                files.remove(key)

    def _files(self) -> TrialFiles:
        return TrialFiles(self.root).below(WARM_UPS)
