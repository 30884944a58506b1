"""Confirmation of the best trials: a maximum over many trials is partly luck.

Their configurations are trained again on fresh seeds, and each seed divides the queries anew into
train and validation, so that luck with some validation queries does not decide. Test queries are
no part of it. Divisions are the same for all trials, so that differences are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.training.models import train_model
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.warm_up import WarmUpStore
from tuning.conclusion.export import cosine_objective
from tuning.conclusion.race import Confirmed, Race
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.study import attributes
from tuning.workers.tasks import Tasks, Training

if TYPE_CHECKING:
    import optuna

Ancestors = Sequence[tuple[ExperimentConfig, int]]
"""Configurations that trained a trial's weights before it, each with its last epoch."""

CONFIRMATION = "confirming"
"""Purpose of the trainings."""

NOT_CONFIRMED = "Not all of the best trials were confirmed on fresh seeds."
_FIRST_SEED = 1_000_003  # first of the seeds that no trial of a search has


@dataclass(frozen=True)
class Confirmation:
    """Training of the best trials' configurations on fresh seeds.

    Attributes:
        divisions: Data of each seed, see `fresh_seeds`.
        ancestors: Number of a trial -> trainings before it, which are done again too.
        tasks: Runs the trainings.
        study: Study of the search, which holds the objectives of earlier sessions.
        notes: Sentences for the user, to which problems are added.
        race: Rule that ends the race for a trial.
    """

    divisions: Sequence[TrialData]
    ancestors: Mapping[int, Ancestors]
    tasks: Tasks
    study: optuna.Study
    notes: list[str]
    race: Race

    def confirm(self, best: Sequence[TrainedTrial]) -> list[Confirmed]:
        """Return the best trials, the one with the best mean over seeds first.

        The trials race: after two seeds, and after each further one, those that may still win get
        another one. The race ends when one trial is left. Trials of which a seed failed come
        last. Where the search ends before all seeds were trained, the trials keep their order.

        Args:
            best: Best trials, in order.
        """
        n_all = len(self.divisions)
        seeds = fresh_seeds(n_all)
        racing, ahead, ended = list(best), list[Confirmed](), list[Confirmed]()
        for n_seeds in range(min(2, n_all), n_all + 1):
            used = seeds[:n_seeds]
            if not self._train(racing, used):
                return self._noted([Confirmed(trial, ()) for trial in best])
            confirmed = sorted(self._confirmed(racing, used), key=_rank, reverse=True)
            ahead = self.race.still_in(confirmed, n_all) if n_seeds < n_all else confirmed
            ended = [*(trial for trial in confirmed if trial not in ahead), *ended]
            racing = [trial.trial for trial in ahead]
            if n_seeds == n_all or len(racing) < 2:
                break
        return self._noted([*ahead, *ended])

    def _confirmed(self, trials: Sequence[TrainedTrial], seeds: Sequence[int]) -> list[Confirmed]:
        """Return trials with their objectives on seeds, those that failed on one without any."""
        objectives = attributes.confirmed(self.study)
        cosine = self._cosine(trials[0].config, len(seeds)) if trials else ()
        return [
            Confirmed(trial, _on_all(seeds, objectives.get(str(trial.number), {})), cosine)
            for trial in trials
        ]

    def _cosine(self, config: ExperimentConfig, n: int) -> tuple[float, ...]:
        """Return the objective of the cosine on the first divisions."""
        return tuple(cosine_objective(config, division) for division in self.divisions[:n])

    def _noted(self, confirmed: list[Confirmed]) -> list[Confirmed]:
        """Return trials, and note it if some have no objectives on fresh seeds."""
        if self.divisions and not all(trial.objectives for trial in confirmed):
            self.notes.append(NOT_CONFIRMED)
        return confirmed

    def _train(self, best: Sequence[TrainedTrial], seeds: Sequence[int]) -> bool:
        """Train what earlier sessions have not; return whether every training ended."""
        objectives = attributes.confirmed(self.study)
        missing = {
            (trial.number, seed): self._training(trial, seed, index)
            for trial in best
            for index, seed in enumerate(seeds)
            if str(seed) not in objectives.get(str(trial.number), {})
        }
        left = set(missing)

        def failed(key: tuple[int, int], reason: str) -> None:
            left.remove(key)
            self.notes.append(f"Trial {key[0]} on seed {key[1]}: {reason}")

        tasks = replace(self.tasks, shared=tuple(self.divisions))
        results = tasks.finished(CONFIRMATION, best_objective, missing, failed)
        for (number, seed), value in results:
            left.remove((number, seed))
            of_trial = {**objectives.get(str(number), {}), str(seed): value}
            objectives = {**objectives, str(number): of_trial}
            attributes.write_confirmed(self.study, objectives)
        return not left

    def _training(self, trial: TrainedTrial, seed: int, index: int) -> Training:
        changes = {"seed": seed, "data.validation_seed": seed}
        ancestors = [
            (override(config, changes), last) for config, last in self.ancestors[trial.number]
        ]
        config = override(trial.config, changes)
        arguments = (config, ancestors, self.tasks.warm_ups, index)
        return Training(arguments, trial.full_seconds)


def fresh_seeds(n: int) -> list[int]:
    """Return seeds that no trial of a search has, of the training and of its division."""
    return [_FIRST_SEED + index for index in range(n)]


def _rank(trial: Confirmed) -> float:
    return trial.mean if trial.objectives else -math.inf


def _on_all(seeds: Sequence[int], objectives: Mapping[str, float]) -> tuple[float, ...]:
    """Return the objectives on every seed; empty where one is missing."""
    present = [objectives[str(seed)] for seed in seeds if str(seed) in objectives]
    return tuple(present) if len(present) == len(seeds) else ()


def best_objective(
    config: ExperimentConfig,
    ancestors: Ancestors,
    warm_ups: WarmUpStore | None,
    division: int,
    divisions: Sequence[TrialData],
    watch: Callable[[EpochReport], None] = lambda _: None,
) -> float:
    """Return the validation objective of a training's best epoch, on one thread.

    Args:
        config: Configuration to train.
        ancestors: Trainings before it, whose weights it continues from.
        warm_ups: Warm-ups that are shared with the trials.
        division: Number of the division to train on.
        divisions: Data of all divisions.
        watch: Called with the report of every epoch.
    """
    import torch

    torch.set_num_threads(1)
    trained = train_model(
        config, config.model, divisions[division], watch, ancestors, warm_ups=warm_ups
    )
    return trained.validation.objective
