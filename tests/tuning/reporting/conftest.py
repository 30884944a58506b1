"""An ended run as the reports of a search receive it."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.training.trial_data import PreparedData
from tuning.conclusion.outcome import Outcome
from tuning.conclusion.outcome import Tested as Scored
from tuning.conclusion.race import Confirmed
from tuning.conclusion.trained_trial import load_trial
from tuning.space import Space
from tuning.study.run_folder import load_study
from tuning.study.view import StudyView


@pytest.fixture
def outcome(ended_run: Path, tiny_space: Space, prepared: PreparedData) -> Outcome:
    """What the ended run came to: its two best trials and cosine, scored on test."""
    trials = load_study(ended_run).get_trials()
    roles = {"test": prepared.test, "unseen_test": prepared.unseen_test}

    def tested(position: int, weight: float | None = None) -> Scored:
        trial = load_trial(ended_run, StudyView(trials).ranked()[position])
        w = trial.validation.fusion_weight if weight is None else weight
        return Scored(trial, {role: score_on(trial.head, w, sets) for role, sets in roles.items()})

    # At fusion weight 0 any head is plain cosine.
    cosine = tested(0, weight=0.0).scores
    best = [tested(0), tested(1)]
    confirmed = [Confirmed(best[0].trial, (0.5, 0.7)), Confirmed(best[1].trial, (0.3, 0.5))]
    return Outcome(
        tiny_space, trials, confirmed, best, best[1], {"cosine": cosine}, notes=["A note."]
    )
