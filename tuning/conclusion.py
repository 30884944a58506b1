"""The end of a search: test queries are read, once, and the winner is exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from torch import Tensor

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.evaluation import COSINE, Scores
from quantum_rerank.similarity import Head, build_head
from quantum_rerank.training.arms import train_arm
from quantum_rerank.training.data_manager import PreparedData, QuerySet, TrialData
from quantum_rerank.training.ranking import score_on
from tuning.best_trial import (
    BEST,
    TrainedTrial,
    export_trial,
    load_study,
    load_trial,
    ranked_trials,
)
from tuning.budgets import INTERRUPT
from tuning.records import CHECKPOINT
from tuning.reports import Outcome, Tested
from tuning.searcher import START_POINT
from tuning.space import Space

BASELINES = ("mlp_twin", "quantum_only")


def conclude(
    space: Space,
    prepared: PreparedData,
    source: EmbeddingSource,
    folder: Path,
    ended: str,
    console: Console,
) -> Outcome:
    """Score the best trials and the baselines on test, once, and export the winner."""
    trials = [t for t in load_study(folder).get_trials(deepcopy=False) if t.state.is_finished()]
    chosen = ranked_trials(trials)[: space.header.top_k]
    starts = [
        t for t in trials if t.user_attrs.get(START_POINT) == 0 and CHECKPOINT in t.user_attrs
    ]
    tested = {
        trial.number: tested_trial(load_trial(folder, trial), prepared)
        for trial in {t.number: t for t in [*chosen, *starts]}.values()
    }
    best = [tested[trial.number] for trial in chosen]
    default = next((tested[trial.number] for trial in starts), None)
    notes = []
    cosine = train_arm(space.base, COSINE, prepared.trial)
    baselines = {COSINE: score_roles(cosine.head, 0.0, prepared)}
    if not best:
        notes.append("No trial reached the end of an epoch: there is nothing to export.")
        return Outcome(space, trials, [], default, baselines, ended, notes)
    test = {role: dict(scores.metrics) for role, scores in best[0].scores.items()}
    export_trial(folder / BEST, best[0].trial, prepared, source, test)
    if not ended:
        console.print("Training the MLP twin and the circuit alone as the best trial was ...")
        try:
            for arm, (head, weight) in train_baselines(best[0].trial, prepared.trial).items():
                baselines[arm] = score_roles(head, weight, prepared)
        except KeyboardInterrupt:
            ended = INTERRUPT
    if ended:
        notes.append(f"Ended by {ended}: the MLP twin and the circuit alone are missing.")
    return Outcome(space, trials, best, default, baselines, ended, notes)


def tested_trial(trial: TrainedTrial, prepared: PreparedData) -> Tested:
    """Score a trial's best epoch on the test queries."""
    return Tested(trial, score_roles(trial.head, trial.validation.fusion_weight, prepared))


def score_roles(head: Head, fusion_weight: float, prepared: PreparedData) -> dict[str, Scores]:
    """Scores on the test queries of seen and, where there are any, unseen domains."""
    roles: dict[str, Sequence[QuerySet]] = {
        "test": prepared.test_seen,
        "test_unseen": prepared.test_unseen,
    }
    return {role: score_on(head, fusion_weight, sets) for role, sets in roles.items() if sets}


def train_baselines(best: TrainedTrial, data: TrialData) -> dict[str, tuple[Head, float]]:
    """Train the classical twin and the circuit alone as the best trial was, side by side.

    Returns: arm -> head and the fusion weight fitted to it.
    """
    import ray

    train = ray.remote(num_cpus=1)(_train_on_one_thread)
    shared = ray.put(data)
    waiting = {arm: train.remote(best.config, arm, shared) for arm in BASELINES}
    heads: dict[str, tuple[Head, float]] = {}
    for arm, result in waiting.items():
        weights, fusion_weight = ray.get(result)
        arguments = best.config.head_arguments() | {"arm": arm}
        head = build_head(embedding_dim=data.embedding_dim, **arguments)
        head.load_state_dict(weights)
        heads[arm] = (head, fusion_weight)
    return heads


def _train_on_one_thread(
    config: ExperimentConfig, arm: str, data: TrialData
) -> tuple[dict[str, Tensor], float]:
    import torch

    torch.set_num_threads(1)
    trained = train_arm(config, arm, data)
    return trained.head.state_dict(), trained.validation.fusion_weight
