"""The best trials once more, on fresh seeds: a maximum over many trials is partly luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.models import train_model
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.workers.tasks import Tasks

if TYPE_CHECKING:
    import optuna

_FRESH = 1_000_003  # first of the seeds that no trial of a search has
_CONFIRMED = "confirmed"  # attribute of the study: number -> seed -> objective


@dataclass(frozen=True)
class Confirmed:
    """Validation objectives of one trial's configuration on fresh seeds."""

    trial: TrainedTrial
    objectives: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over seeds; the trial's own objective where there are none."""
        return fmean(self.objectives) if self.objectives else self.trial.validation.objective

    @property
    def spread(self) -> float:
        """The standard deviation over seeds, 0 where there are not two."""
        return stdev(self.objectives) if len(self.objectives) > 1 else 0.0


def confirm(
    best: Sequence[TrainedTrial],
    before: Mapping[int, Sequence[tuple[ExperimentConfig, int]]],
    n_seeds: int,
    tasks: Tasks,
    study: optuna.Study,
    notes: list[str],
) -> list[Confirmed]:
    """Train the best trials' configurations on the same fresh seeds; the best mean first.

    before: of each trial, what has trained its weights until then; it is trained again too.
    What was trained in an earlier session is in the study and not trained again. A trial of
    which a seed failed comes after those that have all of theirs. Where the search ends
    before all were trained, the trials keep their order.
    """
    known: dict[str, dict[str, float]] = study.user_attrs.get(_CONFIRMED, {})
    seeds = [_FRESH + index for index in range(n_seeds)]
    todo = {
        (trial.number, seed): (
            override(trial.config, {"seed": seed}),
            [(override(one, {"seed": seed}), last) for one, last in before[trial.number]],
        )
        for trial in best
        for seed in seeds
        if str(seed) not in known.get(str(trial.number), {})
    }

    def failed(key: tuple[int, int], reason: str) -> None:
        del todo[key]
        notes.append(f"Trial {key[0]} on seed {key[1]}: {reason}")

    for (number, seed), value in tasks.finished(best_objective, dict(todo), failed):
        del todo[number, seed]
        known = {**known, str(number): {**known.get(str(number), {}), str(seed): value}}
        study.set_user_attr(_CONFIRMED, known)
    found = [Confirmed(one, _on_all(seeds, known.get(str(one.number), {}))) for one in best]
    if n_seeds and not all(one.objectives for one in found):
        notes.append("Not all of the best trials were confirmed on fresh seeds.")
    if todo:  # whoever had less time would come last
        return [Confirmed(trial, ()) for trial in best]
    return sorted(found, key=lambda one: one.mean if one.objectives else -math.inf, reverse=True)


def _on_all(seeds: Sequence[int], known: Mapping[str, float]) -> tuple[float, ...]:
    """The objectives on every seed; none where one is missing."""
    found = [known[str(seed)] for seed in seeds if str(seed) in known]
    return tuple(found) if len(found) == len(seeds) else ()


def best_objective(
    config: ExperimentConfig, before: Sequence[tuple[ExperimentConfig, int]], data: TrialData
) -> float:
    """The validation objective of a training's best epoch, on one thread."""
    import torch

    torch.set_num_threads(1)
    return train_model(config, config.model, data, before=before).validation.objective
