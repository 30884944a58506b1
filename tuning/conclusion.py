"""The end of a search: test queries are read, once, and the winner is exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial
from rich.console import Console

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.errors import BundleError
from quantum_rerank.evaluation import COSINE, Scores
from quantum_rerank.similarity import Head, build_head
from quantum_rerank.training.arms import train_weights
from quantum_rerank.training.data_manager import PreparedData, TrialData
from quantum_rerank.training.ranking import score_on
from tuning.best_trial import (
    BEST,
    TrainedTrial,
    export_trial,
    load_study,
    load_trial,
    ranked_trials,
)
from tuning.budgets import Ending
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
    ending: Ending,
    console: Console,
) -> Outcome:
    """Score the best trials and the baselines on test, once, and export the winner."""
    trials = [t for t in load_study(folder).get_trials(deepcopy=False) if t.state.is_finished()]
    notes: list[str] = []
    tested = load_best(trials, space.header.top_k, folder, prepared, notes)
    default = load_default(space, trials, tested, folder, prepared, notes)
    cosine = _untrained(space.base, COSINE, prepared.trial)
    baselines = {COSINE: score_roles(cosine, 0.0, prepared)}
    if not tested:
        notes.append("No trial reached the end of an epoch: there is nothing to export.")
        return Outcome(space, trials, [], default, baselines, ending(), notes)
    test = {role: dict(scores.metrics) for role, scores in tested[0].scores.items()}
    export_trial(folder / BEST, tested[0].trial, prepared, source, test)
    if not ending():
        console.print("Training the MLP twin and the circuit alone as the best trial was ...")
        found = train_baselines(tested[0].trial, prepared.trial, ending, notes)
        baselines |= {arm: score_roles(*model, prepared) for arm, model in found.items()}
        notes.append("mlp_twin and quantum_only have the best trial's numbers; neither was tuned.")
    if ended := ending():
        notes.append(f"Ended by {ended}.")
    return Outcome(space, trials, tested, default, baselines, ending(), notes)


def load_best(
    trials: Sequence[FrozenTrial],
    top_k: int,
    folder: Path,
    prepared: PreparedData,
    notes: list[str],
) -> list[Tested]:
    """Load and test the best trials; one whose checkpoint was cut off gives way to the next."""
    tested: list[Tested] = []
    for frozen in ranked_trials(trials):
        if len(tested) == top_k:
            break
        try:
            tested.append(tested_trial(load_trial(folder, frozen), prepared))
        except BundleError as error:
            notes.append(f"Trial {frozen.number} is passed over: {error}")
    return tested


def load_default(
    space: Space,
    trials: Sequence[FrozenTrial],
    tested: Sequence[Tested],
    folder: Path,
    prepared: PreparedData,
    notes: list[str],
) -> Tested | None:
    """The trial of the base configuration, if the space starts with it and it was kept."""
    starts = space.header.start_from
    index = starts.index({}) if {} in starts else None
    for frozen in trials:
        if index is None or frozen.user_attrs.get(START_POINT) != index:
            continue
        known = next((one for one in tested if one.trial.number == frozen.number), None)
        if known or CHECKPOINT not in frozen.user_attrs:
            return known
        try:
            return tested_trial(load_trial(folder, frozen), prepared)
        except BundleError as error:
            notes.append(f"The default configuration is missing: {error}")
    return None


def tested_trial(trial: TrainedTrial, prepared: PreparedData) -> Tested:
    """Score a trial's best epoch on the test queries."""
    return Tested(trial, score_roles(trial.head, trial.validation.fusion_weight, prepared))


def score_roles(head: Head, fusion_weight: float, prepared: PreparedData) -> dict[str, Scores]:
    """Scores on the test queries of seen and, where there are any, unseen domains."""
    tests = prepared.tests.items()
    return {role: score_on(head, fusion_weight, queries) for role, queries in tests}


def train_baselines(
    best: TrainedTrial, data: TrialData, ending: Ending, notes: list[str]
) -> dict[str, tuple[Head, float]]:
    """Train the classical twin and the circuit alone as the best trial was, side by side.

    What fails or is cut short is noted and left out: the search's own result stands.
    Returns: arm -> head and the fusion weight fitted to it.
    """
    import ray

    train = ray.remote(num_cpus=1, max_retries=0)(train_weights)
    shared = ray.put(data)
    waiting = {arm: train.remote(best.config, arm, shared) for arm in BASELINES}
    heads: dict[str, tuple[Head, float]] = {}
    try:
        for arm, result in waiting.items():
            while not ray.wait([result], timeout=1.0)[0] and not ending():
                pass
            if ending():
                break
            try:
                weights, fusion_weight = ray.get(result)
            except Exception as error:  # whatever it was, it is not the search's fault
                notes.append(f"{arm} could not be trained: {str(error).splitlines()[-1]}")
                continue
            head = _untrained(best.config, arm, data)
            head.load_state_dict(weights)
            heads[arm] = (head, fusion_weight)
    except KeyboardInterrupt:
        ending.interrupted = True
    return heads


def _untrained(config: ExperimentConfig, arm: str, data: TrialData) -> Head:
    arguments = config.head_arguments() | {"arm": arm}
    return build_head(embedding_dim=data.embedding_dim, **arguments)
