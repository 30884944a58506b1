"""End of a search: the best trials are confirmed, tested once, and the winner is exported."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console

from quantum_rerank.atomic import replace_folder
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.errors import BundleError, FilesError, OutputError
from quantum_rerank.evaluation import COSINE, Scores
from quantum_rerank.evaluation.measurements import SeedGains
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.evaluation.role_scores import score_against_cosine
from quantum_rerank.plain_text import pasted
from quantum_rerank.plural import counted
from quantum_rerank.similarity import Head
from quantum_rerank.training.divisions import other_divisions
from quantum_rerank.training.models import untrained_head
from quantum_rerank.training.trial_data import PreparedData, TrialData
from tuning.conclusion.baselines import baselines_of, lexical_baselines, train_baselines
from tuning.conclusion.confirmation import (
    NOT_CONFIRMED,
    Ancestors,
    Confirmation,
    fresh_seeds,
)
from tuning.conclusion.doubling import doubling
from tuning.conclusion.export import TrialEvidence, cosine_objective, export_trial
from tuning.conclusion.leads import Leads
from tuning.conclusion.outcome import Outcome, Tested
from tuning.conclusion.race import Confirmed, Race, validation_ratio
from tuning.conclusion.selection import Selection, query_error, select
from tuning.conclusion.targets import BestTrialMeasures
from tuning.conclusion.trained_trial import TrainedTrial, load_trial
from tuning.limits.failures import without_weights
from tuning.records import StopKind, StopReason
from tuning.space import Space
from tuning.study import attributes
from tuning.study.ranking import first_start_point
from tuning.study.run_folder import BEST
from tuning.study.trials import highest
from tuning.study.view import StudyView
from tuning.study.warm_start import read_taken_over
from tuning.workers.tasks import Tasks


@dataclass(frozen=True)
class Conclusion:
    """Conclusion of a search.

    Attributes:
        space: Space that was searched.
        study: Study of the search.
        prepared: Data of the search; the only place with test queries.
        source: Encoder of the search.
        folder: Folder of the run.
        tasks: Runs trainings, and holds the signal that ends the search.
        console: Console for progress messages.
        notes: Sentences for the user, collected on the way.
    """

    space: Space
    study: optuna.Study
    prepared: PreparedData
    source: EmbeddingSource
    folder: Path
    tasks: Tasks
    console: Console
    notes: list[str] = field(default_factory=list)

    def run(self) -> Outcome:
        """Confirm the best trials, score them on test queries, and export the winner."""
        view = StudyView.of(self.study)
        trials = [trial for trial in view.searched() if trial.state.is_finished()]
        best = with_reference(
            load_best(trials, self.space.header.top_k, self.folder, self.notes),
            trials,
            self.folder,
        )
        ancestors = {trial.number: view.ancestors(self.space, trial.number) for trial in best}
        confirmed, selection = self._select(self._confirm(best, ancestors, trials), trials)
        tested = [tested_trial(trial.trial, self.prepared) for trial in confirmed]
        default = self._default(trials, tested)
        cosine = untrained_head(self.space.base, COSINE, self.prepared.trial)
        baselines: dict[str, Mapping[str, Scores]] = {
            COSINE: score_roles(cosine, 0.0, self.prepared)
        }
        measures = None
        if tested:
            measures = best_trial_measures(confirmed[0], self.prepared)
            self._export(tested[0], measures.seeds)
            baselines |= self._baselines(tested[0].trial, ancestors)
            self.notes.append(str(self._leads(confirmed[0], tested[0], baselines[COSINE])))
            self.notes.extend(better_elsewhere(view, tested[0]))
            self.notes.extend(useless(tested[0]))
        self.notes.extend(shared_warm_ups(trials))
        if found := doubling(trials):
            self.notes.append(str(found))
        return Outcome(
            space=self.space,
            trials=trials,
            confirmed=confirmed,
            tested=tested,
            default=default,
            baselines=baselines,
            stopped=self._stop_reason(trials, has_model=bool(tested)),
            taken_over=read_taken_over(self.folder),
            notes=self.notes,
            measures=measures,
            selection=selection,
        )

    def _select(
        self, confirmed: Sequence[Confirmed], trials: Sequence[FrozenTrial]
    ) -> tuple[list[Confirmed], Selection | None]:
        metric = self.space.header.objective.metric
        order, selection = select(confirmed, reference_of(trials), self.prepared.trial, metric)
        if selection:
            self.notes.append(str(selection))
        return order, selection

    def _race(self, trials: Sequence[FrozenTrial]) -> Race:
        """Return the rule of the race."""
        data, metric = self.prepared.trial, self.space.header.objective.metric
        return Race(
            validation_ratio(data),
            reference_of(trials),
            partial(query_error, data=data, metric=metric),
        )

    def _confirm(
        self,
        best: Sequence[TrainedTrial],
        ancestors: Mapping[int, Ancestors],
        trials: Sequence[FrozenTrial],
    ) -> list[Confirmed]:
        n_seeds = self.space.header.confirm_seeds if len(best) > 1 else 0
        divisions: Sequence[TrialData] = ()
        is_over = bool(self.tasks.stop_signal())
        if n_seeds and not is_over:
            seeds = counted(n_seeds, "fresh seed")
            self.console.print(
                f"Training the best {len(best)} trials on up to {seeds}, each with its own "
                "division into train and validation ..."
            )
        # What an earlier session has confirmed counts after the end of a budget too.
        if n_seeds and (not is_over or attributes.confirmed(self.study)):
            data, trial_data = self.space.base.data, self.prepared.trial
            divisions = other_divisions(data, self.source, trial_data, fresh_seeds(n_seeds))
        confirmation = Confirmation(
            divisions, ancestors, self.tasks, self.study, self.notes, self._race(trials)
        )
        confirmed = confirmation.confirm(best)
        if n_seeds and not divisions:
            self.notes.append(NOT_CONFIRMED)
        return confirmed

    def _default(self, trials: Sequence[FrozenTrial], tested: Sequence[Tested]) -> Tested | None:
        """Return the trial of the base configuration, if the space starts with it."""
        points = self.space.header.start_from
        if {} not in points:
            return None
        for trial in StudyView(trials).ranked():
            if attributes.start_point(trial) != points.index({}):
                continue
            for candidate in tested:
                if candidate.trial.number == trial.number:
                    return candidate
            try:
                return tested_trial(load_trial(self.folder, trial), self.prepared)
            except BundleError as error:
                self.notes.append(f"The default configuration is missing: {error}")
        return None

    def _export(self, winner: Tested, seeds: SeedGains) -> None:
        """Write the bundle of the winner, whole or not at all."""
        test = {role: dict(scores.metrics) for role, scores in winner.scores.items()}
        unfinished = self.folder / f".{BEST}"
        shutil.rmtree(unfinished, ignore_errors=True)  # of a session that was killed here
        evidence = TrialEvidence(test, seeds)
        try:
            export_trial(unfinished, winner.trial, self.prepared, self.source, evidence)
        except OutputError as error:  # a full disk, since the folder is the search's own
            raise FilesError(str(error)) from None
        replace_folder(unfinished, self.folder / BEST)

    def _baselines(
        self, winner: TrainedTrial, ancestors: Mapping[int, Ancestors]
    ) -> dict[str, Mapping[str, Scores]]:
        """Train and score the models that the winner is compared with."""
        if self.tasks.stop_signal():
            return {}
        lexical = lexical_baselines(self.space.base, self.prepared)
        models = ", ".join(baselines_of(winner.config.model))
        self.console.print(f"Training {models} as the best trial was ...")
        trained = train_baselines(
            winner, ancestors[winner.number], self.prepared.trial, self.tasks, self.notes
        )
        self.notes.append(f"With the best trial's numbers, not tuned themselves: {models}.")
        scores = {
            model: score_roles(head, fusion_weight, self.prepared)
            for model, (head, fusion_weight) in trained.items()
        }
        return lexical | scores

    def _leads(self, winner: Confirmed, tested: Tested, cosine: Mapping[str, Scores]) -> Leads:
        metric = self.space.header.objective.metric
        objective = cosine_objective(winner.trial.config, self.prepared.trial)
        return Leads(
            validation=winner.trial.validation.objective - objective,
            divisions=winner.gains,
            test={
                role: scores.metrics[metric] - cosine[role].metrics[metric]
                for role, scores in tested.scores.items()
            },
        )

    def _stop_reason(self, trials: Sequence[FrozenTrial], has_model: bool) -> StopReason | None:
        """Return why the search ended early, and note it."""
        reason = self.tasks.stop_signal()
        if has_model:
            if reason:
                self.notes.append(f"Ended by {reason}.")
            return reason
        why = why_no_model(trials)
        by = f" The search ended by {reason}." if reason else ""
        self.notes.append(f"There is nothing to export: {why}.{by}")
        return reason or StopReason(StopKind.NO_MODEL, f"a lack of trained trials: {why}")


def reference_of(trials: Sequence[FrozenTrial]) -> int | None:
    """Return the number of the reference, the first start point whose trial has an objective."""
    reference = first_start_point(StudyView(trials).ranked())
    return None if reference is None else reference.number


def why_no_model(trials: Sequence[FrozenTrial]) -> str:
    """Return in a few words why the finished trials of a search leave nothing to export."""
    if with_weights := [trial for trial in trials if attributes.best_epoch(trial)]:
        n_trials = len(with_weights)
        return f"the weights of all {n_trials} trials that have left some cannot be loaded"
    return without_weights(attributes.failures(trials).values(), len(trials))


def load_best(
    trials: Sequence[FrozenTrial], top_k: int, folder: Path, notes: list[str]
) -> list[TrainedTrial]:
    """Load the best trials; the next one takes the place of one that cannot be loaded.

    Args:
        trials: Finished trials of the search.
        top_k: Number of trials to load at most.
        folder: Folder of the run.
        notes: Sentences for the user, to which problems are added.
    """
    best: list[TrainedTrial] = []
    for trial in StudyView(trials).ranked():
        if len(best) == top_k:
            break
        try:
            best.append(load_trial(folder, trial))
        except BundleError as error:
            notes.append(f"Trial {trial.number} is passed over: {error}")
    return best


def with_reference(
    best: Sequence[TrainedTrial], trials: Sequence[FrozenTrial], folder: Path
) -> list[TrainedTrial]:
    """Return the best trials with the reference among them, as the last one if need be.

    Args:
        best: Best trials; one of several gives its place to the reference.
        trials: Finished trials of the search.
        folder: Folder of the run.
    """
    reference = reference_of(trials)
    if len(best) < 2 or reference in (None, *(trial.number for trial in best)):
        return list(best)
    (trial,) = (trial for trial in trials if trial.number == reference)
    try:
        return [*best[:-1], load_trial(folder, trial)]
    except BundleError:  # its weights are gone: nothing can be handed over
        return list(best)


def better_elsewhere(view: StudyView, best: Tested) -> list[str]:
    """Return a sentence on the earlier run that holds better weights, if one does.

    Args:
        view: Study of the search, with the trials of earlier runs.
        best: Best trial of the search.
    """
    origins = {trial.number: attributes.warm_start(trial) for trial in view}
    earlier = [(highest(trial), origins[trial.number]) for trial in view if origins[trial.number]]
    value, origin = max(earlier, key=lambda pair: pair[0] or 0.0, default=(None, None))
    if value is None or origin is None or value <= best.trial.validation.objective:
        return []
    run, number = origin
    command = pasted("python", "-m", "tuning.best_trial", run, "--trial", number)
    return [
        f"An earlier trial was better on validation, {value:.4f}: export it with "
        f"`{command} --output DIR`."
    ]


def shared_warm_ups(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return a sentence on the warm-ups that trials shared, if some did."""
    saved = attributes.warm_ups_saved(trials)
    if not saved:
        return []
    share = f"{len(saved)} of {counted(len(trials), 'trial')}"
    return [f"{share} started from a shared warm-up, which saved {sum(saved):.0f} core-seconds."]


def useless(best: Tested) -> list[str]:
    """Return a sentence on a winner that ranks as its first stage does, if it does."""
    if best.trial.validation.fusion_weight:
        return []
    part = best.trial.head.lexical
    first_stage = (
        "BM25 and the cosine do" if part is not None and part.is_used else "the cosine does"
    )
    return [
        f"Trial {best.trial.number} ranks as {first_stage}: on validation no weight of its "
        "affinity was better than 0. Judge more queries, or harder ones."
    ]


def tested_trial(trial: TrainedTrial, prepared: PreparedData) -> Tested:
    """Score a trial's best epoch on the test queries."""
    return Tested(trial, score_roles(trial.head, trial.validation.fusion_weight, prepared))


def best_trial_measures(best: Confirmed, prepared: PreparedData) -> BestTrialMeasures:
    """Measure the winner for the targets: on the queries of every role, and over seeds."""
    trial = best.trial
    return BestTrialMeasures(
        score_against_cosine(trial.head, trial.validation.fusion_weight, prepared.roles),
        trial.training_summary,
        SeedGains(best.gains),
    )


def score_roles(head: Head, fusion_weight: float, prepared: PreparedData) -> dict[str, Scores]:
    """Score a model on the test queries of each role.

    Args:
        head: Model.
        fusion_weight: Weight of its fidelity in the fused score.
        prepared: Data with test queries.

    Returns:
        Role -> scores.
    """
    tests = prepared.test_roles.items()
    return {role: score_on(head, fusion_weight, queries) for role, queries in tests}
