"""A trial's files, and the attempts before it."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quantum_rerank.config import ExperimentConfig
from tuning.limits.failures import memory_excess
from tuning.records import FAILURE, PEAK_RSS_MB
from tuning.study.trial_files import DONORS, PROGRESS, TrialFiles, donated

DEATH_NOTE, TRACEBACK = "death.json", "traceback.txt"


@dataclass(frozen=True)
class TrialContext:
    """Where a trial keeps its files, and the numbers of the attempts before it.

    donor: configuration and epoch whose weights it starts from, if it is a clone.
    donates_at: epochs after which others may start from its weights.
    run: the identifier of the run.
    """

    files: TrialFiles
    number: int
    earlier: Sequence[int] = ()
    donor: Sequence[int] | None = None
    donates_at: Container[int] = ()
    run: str = ""

    @property
    def origin(self) -> int:
        """The number of the first attempt: its configuration's name."""
        return self.earlier[-1] if self.earlier else self.number

    def made_by(self, config: ExperimentConfig, number: int | None = None) -> dict[str, Any]:
        """Return the origin that the files of this trial, or of an earlier attempt, name."""
        from quantum_rerank.training.checkpoint import settings_fingerprint

        trial = self.number if number is None else number
        settings = {"settings": settings_fingerprint(config)}
        return made_by(self.run, trial, self.origin) | settings

    def donate(self, epoch: int, content: bytes) -> None:
        """Keep a training as it is now for those that may clone it."""
        self.files.below(DONORS).write(self.origin, donated(epoch), content)

    def inheritance(self) -> Iterator[bytes]:
        """What the donor left at its epoch."""
        if self.donor:
            configuration, epoch = self.donor
            yield from self.files.below(DONORS).versions(configuration, donated(epoch))

    def leave_death_note(self, used: int, memory_gb: float) -> None:
        """Write why a worker is about to end itself, for the driver to read."""
        note = {FAILURE: memory_excess(used, memory_gb), PEAK_RSS_MB: round(used / 2**20, 1)}
        self.files.write(self.number, DEATH_NOTE, json.dumps(note).encode())

    def progress(self) -> Iterator[tuple[int, bytes]]:
        """Return the saved progress of this configuration's training, and its attempt.

        The newest comes first.
        """
        for number in (self.number, *self.earlier):
            for content in self.files.versions(number, PROGRESS):
                yield number, content


def made_by(run: str, trial: int, configuration: int) -> dict[str, Any]:
    """Return the origin that a trial's files name.

    run: the identifier of the run.  trial: its number.  configuration: the number of the first
    attempt at it.
    """
    return {"run": run, "trial": trial, "configuration": configuration}


def read_death_note(files: TrialFiles, number: int) -> dict[str, Any]:
    """Why a trial's worker ended itself, and its peak memory; empty if it left no note."""
    for content in files.versions(number, DEATH_NOTE):
        try:
            return dict(json.loads(content))
        except ValueError:  # cut off, with the machine: as if there were none
            continue
    return {}
