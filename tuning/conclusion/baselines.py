"""Baselines of the best trial: other models, trained with its parameters."""

from __future__ import annotations

from collections.abc import Mapping

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.evaluation import Scores
from quantum_rerank.similarity import Head
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import (
    FIRST_STAGE,
    LEXICAL_MODELS,
    measure_model,
    train_weights,
    untrained_head,
)
from quantum_rerank.training.trial_data import PreparedData, TrialData
from tuning.conclusion.confirmation import Ancestors
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.workers.tasks import Tasks, Training

BASELINES = "training baselines"
"""Purpose of the trainings."""

_CONTROLS = ("discriminant", "hybrid", "mlp_twin", "quantum_only")


def baselines_of(model: str) -> tuple[str, ...]:
    """Return the models that a winner is compared with: the hybrid and its controls.

    Args:
        model: Model of the winner, which is left out.

    >>> baselines_of("hybrid"), baselines_of("mlp_twin")
    (('discriminant', 'mlp_twin', 'quantum_only'), ('discriminant', 'hybrid', 'quantum_only'))
    """
    return tuple(control for control in _CONTROLS if control != model)


def lexical_baselines(
    config: ExperimentConfig, prepared: PreparedData
) -> dict[str, Mapping[str, Scores]]:
    """Score BM25 alone, BM25 fused with the cosine, and the first stage of `data.lexical`.

    Args:
        config: Configuration of the search, for its data and its objective.
        prepared: Data of the search.

    Returns:
        Name -> role of test queries -> scores.
    """
    bm25 = Bm25(config.data)
    first_stage = (FIRST_STAGE,) if config.has_lexical_part else ()
    names = (*LEXICAL_MODELS, *first_stage)
    return {name: measure_model(config, name, prepared, bm25).test for name in names}


def train_baselines(
    best: TrainedTrial, ancestors: Ancestors, data: TrialData, tasks: Tasks, notes: list[str]
) -> dict[str, tuple[Head, float]]:
    """Train the baselines of the best trial side by side.

    A training that fails or is cut short is noted and left out: the search's result stands.

    Args:
        best: Best trial.
        ancestors: Trainings before it, which are done for each baseline too.
        data: Data of the search.
        tasks: Runs the trainings.
        notes: Sentences for the user, to which failures are added.

    Returns:
        Model -> head, and the fusion weight that was fitted to it.
    """

    def failed(model: str, reason: str) -> None:
        notes.append(f"{model} could not be trained: {reason}")

    heads: dict[str, tuple[Head, float]] = {}
    models = baselines_of(best.config.model)
    trainings = {
        model: Training((best.config, ancestors, model, tasks.warm_ups), best.full_seconds)
        for model in models
    }
    results = tasks.finished(BASELINES, train_weights, trainings, failed)
    for model, (weights, fusion_weight) in results:
        head = untrained_head(best.config, model, data)
        head.load_state_dict(weights)
        heads[model] = (head, fusion_weight)
    return {model: heads[model] for model in models if model in heads}
