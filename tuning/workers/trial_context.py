"""Files of a trial, as its worker reads and writes them."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from quantum_rerank.config import ExperimentConfig
from tuning.limits.failures import memory_excess
from tuning.records import TrialMetadata
from tuning.study.death_note import DeathNote, write_death_note
from tuning.study.trial_files import DONORS, PROGRESS, TrialFiles, donated, origin_record
from tuning.study.warm_ups import SharedWarmUps

TRACEBACK = "traceback.txt"


@dataclass(frozen=True)
class TrialContext:
    """Surroundings of a trial: its files, its metadata, and the run that it belongs to.

    Attributes:
        files: Files of the run's trials.
        metadata: Facts of the trial beside its parameters.
        donates_at: Epochs after which clones may start from the trial's weights.
        run: Identifier of the run.
    """

    files: TrialFiles
    metadata: TrialMetadata
    donates_at: Container[int] = ()
    run: str = ""

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.metadata.number

    @property
    def warm_ups(self) -> SharedWarmUps:
        """Warm-ups that the trials of the run share."""
        return SharedWarmUps(self.files.root, self.run)

    def made_by(self, config: ExperimentConfig, number: int | None = None) -> dict[str, Any]:
        """Return the origin that the files of this trial, or of an earlier attempt, name.

        Args:
            config: Configuration of the trial.
            number: Number of the earlier attempt; None for this one.
        """
        from quantum_rerank.training.checkpoint import settings_fingerprint

        trial = self.number if number is None else number
        settings = {"settings": settings_fingerprint(config)}
        return origin_record(self.run, trial, self.metadata.origin) | settings

    def donate(self, epoch: int, content: bytes) -> None:
        """Write a checkpoint for the clones that may start from it."""
        self.files.below(DONORS).write(self.metadata.origin, donated(epoch), content)

    def inheritance(self) -> Iterator[bytes]:
        """Yield the versions of the checkpoint that a clone's donor has left, newest first."""
        if donor := self.metadata.donor:
            yield from self.files.below(DONORS).versions(donor.configuration, donated(donor.epoch))

    def leave_death_note(self, used: int, memory_gb: float) -> None:
        """Write for the driver why the worker is about to end itself.

        Args:
            used: Bytes in use.
            memory_gb: Memory budget of the trial, in GiB.
        """
        note = DeathNote(memory_excess(used, memory_gb), round(used / 2**20, 1))
        write_death_note(self.files, self.number, note)

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield the checkpoints of this configuration with their attempts, newest first."""
        for number in (self.number, *self.metadata.earlier):
            for content in self.files.versions(number, PROGRESS):
                yield number, content
