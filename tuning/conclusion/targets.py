"""How a search's best trial stands to every target of the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quantum_rerank.training.targets import Course, Seeds, Standing, TargetResult, verdicts


@dataclass(frozen=True)
class Judged:
    """What the targets ask of the best trial.

    standings: role -> its NDCG@10 beside the cosine's.
    """

    standings: Mapping[str, Standing]
    course: Course
    seeds: Seeds


def search_verdicts(
    judged: Judged | None, wall_seconds: float, peaks_mb: Sequence[float]
) -> list[TargetResult]:
    """Verdicts on the best trial; time is the whole search's, memory its largest trial's.

    peaks_mb: of every trial that is known, in units of 2**20 bytes.
    Returns: nothing where there is no best trial.
    """
    if judged is None:
        return []
    peak = max(peaks_mb) * 2**20 / 1e9 if peaks_mb else None
    course = replace(judged.course, seconds=wall_seconds, peak_memory_gb=peak)
    return verdicts(judged.standings, course, judged.seeds)
