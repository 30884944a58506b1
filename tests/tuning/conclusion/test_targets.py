from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.training.trial_data import PreparedData
from tuning.conclusion.conclude import best_trial_measures
from tuning.conclusion.outcome import Outcome
from tuning.conclusion.race import Confirmed
from tuning.conclusion.targets import BestTrialMeasures, target_results
from tuning.conclusion.trained_trial import load_trial
from tuning.reporting.outcome_tables import print_targets
from tuning.reporting.summary import summarise
from tuning.space import Space
from tuning.study.run_folder import load_study
from tuning.study.view import StudyView


@pytest.fixture
def confirmed(ended_run: Path) -> Confirmed:
    """The best trial of the ended run, as if trained again on two seeds."""
    best = StudyView(load_study(ended_run).get_trials()).ranked()[0]
    return Confirmed(load_trial(ended_run, best), (0.8, 0.9), cosine=(0.5, 0.4))


@pytest.fixture
def measures(confirmed: Confirmed, prepared: PreparedData) -> BestTrialMeasures:
    return best_trial_measures(confirmed, prepared)


def test_the_winner_is_measured_on_every_role_and_over_seeds(
    measures: BestTrialMeasures, confirmed: Confirmed, prepared: PreparedData
) -> None:
    trial = confirmed.trial
    for role, queries in (("train", prepared.trial.train), ("test", prepared.test)):
        expected = score_on(trial.head, trial.validation.fusion_weight, queries).metrics[NDCG]
        assert measures.role_scores[role].model == pytest.approx(expected)
    assert measures.training_summary.objectives == (0.3, 0.5, 0.6)
    assert measures.seeds.gains == pytest.approx((0.3, 0.5))


def test_time_is_the_search_s_and_memory_its_largest_trial_s(measures: BestTrialMeasures) -> None:
    found = {v.name: v for v in target_results(measures, 25 * 3600.0, [600.0, 8000.0])}
    assert (found["time"].value, found["time"].outcome) == (25.0, "fail")
    assert found["peak memory"].value == pytest.approx(8000 * 2**20 / 1e9)
    assert found["peak memory"].outcome == "fail"
    none_known = {v.name: v for v in target_results(measures, 1.0, [])}
    assert none_known["peak memory"].outcome == "not known"


def test_a_summary_has_a_verdict_for_every_target_and_the_screen_too(
    measures: BestTrialMeasures, tiny_space: Space, ended_run: Path
) -> None:
    trials = load_study(ended_run).get_trials()
    outcome = Outcome(tiny_space, trials, [], [], None, {"cosine": {}}, measures=measures)
    summary = summarise(outcome, 12.0, "abc")
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    names = [target["name"] for target in summary["targets"]]
    assert len(names) == 9
    console = Console(file=(file := StringIO()), width=200)
    print_targets(summary, console)
    assert all(name in file.getvalue() for name in names)


def test_a_search_without_a_best_trial_has_no_targets(tiny_space: Space) -> None:
    summary = summarise(Outcome(tiny_space, [], [], [], None, {"cosine": {}}), 1.0, "abc")
    assert summary["targets"] == []
    console = Console(file=(file := StringIO()), width=200)
    print_targets(summary, console)
    assert file.getvalue() == ""
