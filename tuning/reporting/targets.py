"""How a search's best trial stands to every target of the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quantum_rerank.evaluation.measurements import ModelAndCosine, SeedObjectives, TrainingSummary
from quantum_rerank.evaluation.targets import TargetResult, evaluate_targets


@dataclass(frozen=True)
class Judged:
    """What the targets ask of the best trial.

    role_scores: role -> NDCG@10 of the trial and of the cosine.
    """

    role_scores: Mapping[str, ModelAndCosine]
    training_summary: TrainingSummary
    seeds: SeedObjectives


def evaluate_search_targets(
    judged: Judged | None, wall_seconds: float, peaks_mb: Sequence[float]
) -> list[TargetResult]:
    """Evaluate the best trial, with the search's time and its largest trial's memory.

    peaks_mb: of every trial that is known, in units of 2**20 bytes.
    Returns: nothing where there is no best trial.
    """
    if judged is None:
        return []
    peak = max(peaks_mb) * 2**20 / 1e9 if peaks_mb else None
    summary = replace(judged.training_summary, seconds=wall_seconds, peak_memory_gb=peak)
    return evaluate_targets(judged.role_scores, summary, judged.seeds)
