"""Targets of a search, held against its best trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quantum_rerank.evaluation.measurements import (
    ModelAndCosine,
    SeedGains,
    TrainingSummary,
)
from quantum_rerank.evaluation.targets import TargetResult, evaluate_targets


@dataclass(frozen=True)
class BestTrialMeasures:
    """Measurements of the best trial that the targets need.

    Attributes:
        role_scores: Role -> NDCG@10 of the trial and of the cosine.
        training_summary: Epochs, seconds and memory of its training.
        seeds: Its gains over the cosine on fresh seeds.
    """

    role_scores: Mapping[str, ModelAndCosine]
    training_summary: TrainingSummary
    seeds: SeedGains


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
    summary = replace(measures.training_summary, seconds=wall_seconds, peak_memory_gb=peak)
    return evaluate_targets(measures.role_scores, summary, measures.seeds)
