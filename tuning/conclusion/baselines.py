"""Baselines that the best trial is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.similarity import Head
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.models import train_weights, untrained_head
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.workers.tasks import Tasks

_HELD_AGAINST = ("hybrid", "mlp_twin", "quantum_only")


def baselines_of(model: str) -> tuple[str, ...]:
    """The models that a winner is held against: the hybrid and its controls, but not itself.

    >>> baselines_of("hybrid"), baselines_of("mlp_twin")
    (('mlp_twin', 'quantum_only'), ('hybrid', 'quantum_only'))
    """
    return tuple(one for one in _HELD_AGAINST if one != model)


def train_baselines(
    best: TrainedTrial,
    before: Sequence[tuple[ExperimentConfig, int]],
    data: TrialData,
    tasks: Tasks,
    notes: list[str],
) -> dict[str, tuple[Head, float]]:
    """Train the models that the best trial is held against as it was, side by side.

    before: what has trained its weights until then.
    What fails or is cut short is noted and left out: the search's own result stands.
    Returns: model -> head and the fusion weight fitted to it.
    """

    def failed(model: str, reason: str) -> None:
        notes.append(f"{model} could not be trained: {reason}")

    heads: dict[str, tuple[Head, float]] = {}
    models = baselines_of(best.config.model)
    wanted = {model: (best.config, before, model) for model in models}
    for model, trained in tasks.finished(train_weights, wanted, failed):
        weights, fusion_weight = trained
        head = untrained_head(best.config, model, data)
        head.load_state_dict(weights)
        heads[model] = (head, fusion_weight)
    return {model: heads[model] for model in models if model in heads}
