"""Targets of a search, held against its best trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quantum_rerank.training.targets import Course, Seeds, Standing, TargetResult, verdicts


@dataclass(frozen=True)
class BestTrialMeasures:
    """Measurements of the best trial that the targets need.

    Attributes:
        standings: Role -> NDCG@10 of the trial beside that of the cosine.
        course: Course of its training.
        seeds: Its objectives on fresh seeds.
    """

    standings: Mapping[str, Standing]
    course: Course
    seeds: Seeds


def target_results(
    measures: BestTrialMeasures | None, wall_seconds: float, peaks_mb: Sequence[float]
) -> list[TargetResult]:
    """Return the result of every target; empty where there is no best trial.

    Args:
        measures: Measurements of the best trial.
        wall_seconds: Seconds of the whole search.
        peaks_mb: Peak memory of every trial that reported it, in MiB; the largest counts.
    """
    if measures is None:
        return []
    peak = max(peaks_mb) * 2**20 / 1e9 if peaks_mb else None
    course = replace(measures.course, seconds=wall_seconds, peak_memory_gb=peak)
    return verdicts(measures.standings, course, measures.seeds)
