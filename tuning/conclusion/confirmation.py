"""Confirmation of the best trials on fresh seeds: a maximum over many trials is partly luck."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.training.models import train_model
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.warm_up import WarmUpStore
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.study import attributes
from tuning.workers.tasks import Tasks, Training

if TYPE_CHECKING:
    import optuna

Ancestors = Sequence[tuple[ExperimentConfig, int]]
"""Configurations that trained a trial's weights before it, each with its last epoch."""

CONFIRMATION = "confirming"
"""Purpose of the trainings."""

_FIRST_SEED = 1_000_003  # first of the seeds that no trial of a search has
_LEAST_SPREAD = 0.003  # of an objective over seeds


@dataclass(frozen=True)
class Confirmed:
    """Validation objectives of a trial's configuration on fresh seeds.

    Attributes:
        trial: Trial that was trained again.
        objectives: Objective on each seed; empty where one of them was not trained.
    """

    trial: TrainedTrial
    objectives: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds; the trial's own objective where there are none."""
        return fmean(self.objectives) if self.objectives else self.trial.validation.objective

    @property
    def spread(self) -> float:
        """Standard deviation over seeds, 0 where there are fewer than two."""
        return stdev(self.objectives) if len(self.objectives) > 1 else 0.0


@dataclass(frozen=True)
class Confirmation:
    """Training of the best trials' configurations on fresh seeds.

    Attributes:
        n_seeds: Number of seeds at most.
        ancestors: Number of a trial -> trainings before it, which are done again too.
        tasks: Runs the trainings.
        study: Study of the search, which holds the objectives of earlier sessions.
        notes: Sentences for the user, to which problems are added.
    """

    n_seeds: int
    ancestors: Mapping[int, Ancestors]
    tasks: Tasks
    study: optuna.Study
    notes: list[str]

    def confirm(self, best: Sequence[TrainedTrial]) -> list[Confirmed]:
        """Return the best trials, the one with the best mean over seeds first.

        The trials race: after two seeds, and after each further one, a trial that is clearly
        behind gets no more seeds. The race ends when one trial is left. Trials of which a seed
        failed come last. Where the search ends before all seeds were trained, the trials keep
        their order.

        Args:
            best: Best trials, in order.
        """
        seeds = [_FIRST_SEED + index for index in range(self.n_seeds)]
        racing, ahead, ended = list(best), list[Confirmed](), list[Confirmed]()
        for n_seeds in range(min(2, self.n_seeds), self.n_seeds + 1):
            used = seeds[:n_seeds]
            if not self._train(racing, used):
                return self._noted([Confirmed(trial, ()) for trial in best])
            confirmed = sorted(self._confirmed(racing, used), key=_rank, reverse=True)
            ahead = in_the_race(confirmed) if n_seeds < self.n_seeds else confirmed
            ended = [*(trial for trial in confirmed if trial not in ahead), *ended]
            racing = [trial.trial for trial in ahead]
            if len(racing) < 2:
                break
        return self._noted([*ahead, *ended])

    def _confirmed(self, trials: Sequence[TrainedTrial], seeds: Sequence[int]) -> list[Confirmed]:
        """Return trials with their objectives on seeds, those that failed on one without any."""
        objectives = attributes.confirmed(self.study)
        return [
            Confirmed(trial, _on_all(seeds, objectives.get(str(trial.number), {})))
            for trial in trials
        ]

    def _noted(self, confirmed: list[Confirmed]) -> list[Confirmed]:
        """Return trials, and note it if some have no objectives on fresh seeds."""
        if self.n_seeds and not all(trial.objectives for trial in confirmed):
            self.notes.append("Not all of the best trials were confirmed on fresh seeds.")
        return confirmed

    def _train(self, best: Sequence[TrainedTrial], seeds: Sequence[int]) -> bool:
        """Train what earlier sessions have not; return whether every training ended."""
        objectives = attributes.confirmed(self.study)
        missing = {
            (trial.number, seed): self._training(trial, seed)
            for trial in best
            for seed in seeds
            if str(seed) not in objectives.get(str(trial.number), {})
        }
        left = set(missing)

        def failed(key: tuple[int, int], reason: str) -> None:
            left.remove(key)
            self.notes.append(f"Trial {key[0]} on seed {key[1]}: {reason}")

        for (number, seed), value in self.tasks.finished(
            CONFIRMATION, best_objective, missing, failed
        ):
            left.remove((number, seed))
            of_trial = {**objectives.get(str(number), {}), str(seed): value}
            objectives = {**objectives, str(number): of_trial}
            attributes.write_confirmed(self.study, objectives)
        return not left

    def _training(self, trial: TrainedTrial, seed: int) -> Training:
        ancestors = self.ancestors[trial.number]
        arguments = (
            override(trial.config, {"seed": seed}),
            [(override(config, {"seed": seed}), last) for config, last in ancestors],
            self.tasks.warm_ups,
        )
        return Training(arguments, trial.full_seconds)


def in_the_race(confirmed: Sequence[Confirmed]) -> list[Confirmed]:
    """Return the trials that are not clearly behind the first one.

    A trial is clearly behind if its mean is lower by more than two standard errors of the
    difference of two means. The standard deviation over seeds is pooled over all trials, and is
    at least 0.003: two seeds may agree by chance.

    Args:
        confirmed: Trials with the same number of seeds, the best mean first.

    >>> close, behind = (0.50, 0.51, 0.50), (0.40, 0.41, 0.40)
    >>> trial: Any = None
    >>> len(in_the_race([Confirmed(trial, close), Confirmed(trial, behind)]))
    1
    """
    measured = [trial for trial in confirmed if trial.objectives]
    if not measured:
        return []
    n_seeds = len(measured[0].objectives)
    pooled = math.sqrt(fmean(trial.spread**2 for trial in measured))
    error = max(pooled, _LEAST_SPREAD) * math.sqrt(2.0 / n_seeds)
    return [trial for trial in measured if measured[0].mean - trial.mean <= 2.0 * error]


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
    data: TrialData,
    watch: Callable[[EpochReport], None] = lambda _: None,
) -> float:
    """Return the validation objective of a training's best epoch, on one thread.

    Args:
        config: Configuration to train.
        ancestors: Trainings before it, whose weights it continues from.
        warm_ups: Warm-ups that are shared with the trials.
        data: Data of the search.
        watch: Called with the report of every epoch.
    """
    import torch

    torch.set_num_threads(1)
    trained = train_model(config, config.model, data, watch, ancestors, warm_ups=warm_ups)
    return trained.validation.objective
