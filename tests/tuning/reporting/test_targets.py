from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.training.trial_data import PreparedData
from tuning.best_trial import load_trial, ranked_trials
from tuning.conclusion import judge_best
from tuning.confirmation import Confirmed
from tuning.reporting.reports import Outcome, print_targets, summarise
from tuning.reporting.targets import Judged, evaluate_search_targets
from tuning.space import Space
from tuning.study.run_folder import load_study


@pytest.fixture
def confirmed(ended_run: Path) -> Confirmed:
    """The best trial of the ended run, as if trained again on two seeds."""
    best = ranked_trials(load_study(ended_run).get_trials())[0]
    return Confirmed(load_trial(ended_run, best), (0.8, 0.9))


@pytest.fixture
def judged(confirmed: Confirmed, prepared: PreparedData) -> Judged:
    return judge_best(confirmed, prepared)


def test_the_winner_is_measured_on_every_role_and_over_seeds(
    judged: Judged, confirmed: Confirmed, prepared: PreparedData
) -> None:
    trial = confirmed.trial
    for role, queries in (("train", prepared.trial.train), ("test", prepared.test)):
        expected = score_on(trial.head, trial.validation.fusion_weight, queries).metrics[NDCG]
        assert judged.role_scores[role].model == pytest.approx(expected)
    assert judged.training_summary.objectives == (0.3, 0.5, 0.6)
    assert judged.seeds.objectives == (0.8, 0.9)
    assert 0.0 < judged.seeds.cosine <= trial.validation.objective


def test_time_is_the_search_s_and_memory_its_largest_trial_s(judged: Judged) -> None:
    found = {v.name: v for v in evaluate_search_targets(judged, 25 * 3600.0, [600.0, 8000.0])}
    assert (found["time"].value, found["time"].outcome) == (25.0, "fail")
    assert found["peak memory"].value == pytest.approx(8000 * 2**20 / 1e9)
    assert found["peak memory"].outcome == "fail"
    none_known = {v.name: v for v in evaluate_search_targets(judged, 1.0, [])}
    assert none_known["peak memory"].outcome == "not known"


def test_a_summary_and_the_screen_have_a_result_for_every_target(
    judged: Judged, tiny_space: Space, ended_run: Path
) -> None:
    trials = load_study(ended_run).get_trials()
    outcome = Outcome(tiny_space, trials, [], [], None, {"cosine": {}}, judged=judged)
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
