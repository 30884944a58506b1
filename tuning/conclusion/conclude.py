"""The end of a search: test queries are read, once, and the winner is exported."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console

from quantum_rerank.atomic import replace_folder
from quantum_rerank.console import pasted
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.errors import BundleError, FilesError, OutputError
from quantum_rerank.evaluation import COSINE, Scores
from quantum_rerank.similarity import Head
from quantum_rerank.training.data_manager import PreparedData
from quantum_rerank.training.models import untrained_head
from quantum_rerank.training.ranking import score_on
from quantum_rerank.training.standings import query_roles, standings
from quantum_rerank.training.targets import Seeds
from tuning.conclusion.baselines import baselines_of, train_baselines
from tuning.conclusion.confirmation import Confirmed, confirm
from tuning.conclusion.export import cosine_objective, export_trial
from tuning.conclusion.outcome import Outcome, Tested
from tuning.conclusion.targets import Judged
from tuning.conclusion.trained_trial import TrainedTrial, load_trial
from tuning.limits.failures import NOTHING_TRAINED, without_weights
from tuning.records import CHECKPOINT, FAILURE
from tuning.space import Space
from tuning.study.attributes import START_POINT
from tuning.study.history import curve, exclude_warm_start
from tuning.study.lineage import ancestors, came_from
from tuning.study.ranking import ranked_trials
from tuning.study.run_folder import BEST
from tuning.study.warm_start import read_taken_over
from tuning.workers.tasks import Tasks


def conclude(
    space: Space,
    study: optuna.Study,
    prepared: PreparedData,
    source: EmbeddingSource,
    folder: Path,
    tasks: Tasks,
    console: Console,
) -> Outcome:
    """Confirm the best trials on fresh seeds, then read the test queries, once, and export."""
    known = study.get_trials(deepcopy=False)
    trials = exclude_warm_start(trial for trial in known if trial.state.is_finished())
    taken = read_taken_over(folder)
    data, ending, notes = prepared.trial, tasks.ending, list[str]()
    best = load_best(trials, space.header.top_k, folder, notes)
    n_seeds = space.header.confirm_seeds if len(best) > 1 else 0
    if n_seeds and not ending():
        console.print(f"Training the best {len(best)} trials on {n_seeds} fresh seeds ...")
    before = {one.number: ancestors(space, known, one.number) for one in best}
    confirmed = confirm(best, before, n_seeds, tasks, study, notes)
    tested = [tested_trial(one.trial, prepared) for one in confirmed]
    default = load_default(space, trials, tested, folder, prepared, notes)
    cosine = untrained_head(space.base, COSINE, data)
    baselines = {COSINE: score_roles(cosine, 0.0, prepared)}
    if not tested:
        why, ended = why_no_model(trials), ending()
        by = f" The search ended by {ended}." if ended else ""
        notes.append(f"There is nothing to export: {why}.{by}")
        ended = ended or f"{NOTHING_TRAINED}: {why}"
        return Outcome(space, trials, [], [], default, baselines, ended, taken, notes)
    test = {role: dict(scores.metrics) for role, scores in tested[0].scores.items()}
    unfinished = folder / f".{BEST}"
    shutil.rmtree(unfinished, ignore_errors=True)  # of a session that was killed here
    judged = judge_best(confirmed[0], prepared)
    try:
        export_trial(unfinished, tested[0].trial, prepared, source, test, judged.seeds)
    except OutputError as error:  # the search's own folder: a disk that fills, no mistake
        raise FilesError(str(error)) from None
    replace_folder(unfinished, folder / BEST)
    if not ending():
        winner = tested[0].trial
        models = baselines_of(winner.config.model)
        console.print(f"Training {', '.join(models)} as the best trial was ...")
        found = train_baselines(winner, before[winner.number], data, tasks, notes)
        baselines |= {
            model_name: score_roles(*model, prepared) for model_name, model in found.items()
        }
        notes.append(f"With the best trial's numbers, not tuned themselves: {', '.join(models)}.")
    if ended := ending():
        notes.append(f"Ended by {ended}.")
    notes += better_elsewhere(known, tested[0])
    return Outcome(
        space, trials, confirmed, tested, default, baselines, ending(), taken, notes, judged
    )


def why_no_model(trials: Sequence[FrozenTrial]) -> str:
    """Say in a few words why the finished trials of a search leave nothing to export."""
    if left_some := [trial for trial in trials if trial.user_attrs.get(CHECKPOINT)]:
        return f"the weights of all {len(left_some)} trials that have left some cannot be loaded"
    reasons = {t.number: str(t.user_attrs[FAILURE]) for t in trials if FAILURE in t.user_attrs}
    return without_weights(reasons, len(trials))


def load_best(
    trials: Sequence[FrozenTrial], top_k: int, folder: Path, notes: list[str]
) -> list[TrainedTrial]:
    """Load the best trials; one whose checkpoint was cut off gives way to the next."""
    best: list[TrainedTrial] = []
    for frozen in ranked_trials(trials):
        if len(best) == top_k:
            break
        try:
            best.append(load_trial(folder, frozen))
        except BundleError as error:
            notes.append(f"Trial {frozen.number} is passed over: {error}")
    return best


def better_elsewhere(known: Sequence[FrozenTrial], best: Tested) -> list[str]:
    """Name the earlier run that holds better weights than this search, if one does."""
    came_in = [trial for trial in known if came_from(trial)]
    highest = max(came_in, key=lambda t: max(curve(t).values()), default=None)
    origin = came_from(highest) if highest else None
    if highest is None or origin is None:
        return []
    value = max(curve(highest).values())
    if value <= best.trial.validation.objective:
        return []
    run, number = origin
    command = pasted("python", "-m", "tuning.best_trial", run, "--trial", number)
    return [
        f"An earlier trial was better on validation, {value:.4f}: export it with "
        f"`{command} --output DIR`."
    ]


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
    if {} not in starts:
        return None
    index = starts.index({})
    for frozen in ranked_trials(trials):
        if frozen.user_attrs.get(START_POINT) != index:
            continue
        known = next((one for one in tested if one.trial.number == frozen.number), None)
        if known:
            return known
        try:
            return tested_trial(load_trial(folder, frozen), prepared)
        except BundleError as error:
            notes.append(f"The default configuration is missing: {error}")
    return None


def tested_trial(trial: TrainedTrial, prepared: PreparedData) -> Tested:
    """Score a trial's best epoch on the test queries."""
    return Tested(trial, score_roles(trial.head, trial.validation.fusion_weight, prepared))


def judge_best(best: Confirmed, prepared: PreparedData) -> Judged:
    """Measure what the targets ask of the winner: on training queries, and over seeds."""
    trial, data = best.trial, prepared.trial
    return Judged(
        standings(trial.head, trial.validation.fusion_weight, query_roles(prepared)),
        trial.course,
        Seeds(best.objectives, cosine_objective(trial.config, data)),
    )


def score_roles(head: Head, fusion_weight: float, prepared: PreparedData) -> dict[str, Scores]:
    """Scores on the test queries of seen and, where there are any, unseen domains."""
    tests = prepared.tests.items()
    return {role: score_on(head, fusion_weight, queries) for role, queries in tests}
