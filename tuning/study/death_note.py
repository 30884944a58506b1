"""Note that the worker of a trial leaves before it ends itself, for the driver to read."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tuning.records import FAILURE, PEAK_RSS_MB, Failure
from tuning.study.trial_files import TrialFiles

DEATH_NOTE = "death.json"


@dataclass(frozen=True)
class DeathNote:
    """Facts about a worker that ended itself.

    Attributes:
        failure: Reason for its end.
        peak_rss_mb: Peak memory of its trial, in MiB.
    """

    failure: Failure
    peak_rss_mb: float


def write_death_note(files: TrialFiles, number: int, note: DeathNote) -> None:
    """Write the note of a trial's worker.

    Raises:
        FilesError: The file cannot be written.
    """
    record = {FAILURE: note.failure.as_record(), PEAK_RSS_MB: note.peak_rss_mb}
    files.write(number, DEATH_NOTE, json.dumps(record).encode())


def read_death_note(files: TrialFiles, number: int) -> DeathNote | None:
    """Return the note of a trial's worker; None if it left none that can be read."""
    for content in files.versions(number, DEATH_NOTE):
        try:
            record = json.loads(content)
            return DeathNote(Failure.from_record(record[FAILURE]), float(record[PEAK_RSS_MB]))
        except (ValueError, TypeError, KeyError):  # cut off as the machine went down
            continue
    return None
