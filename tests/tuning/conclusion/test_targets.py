from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from quantum_rerank.evaluation import NDCG
from quantum_rerank.training.data_manager import PreparedData
from quantum_rerank.training.ranking import score_on
from tuning.conclusion.conclude import judge_best
from tuning.conclusion.confirmation import Confirmed
from tuning.conclusion.outcome import Outcome
from tuning.conclusion.targets import Judged, search_verdicts
from tuning.conclusion.trained_trial import load_trial
from tuning.reporting.reports import print_verdicts, summarise
from tuning.space import Space
from tuning.study.ranking import ranked_trials
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
    for role, queries in (("train", prepared.trial.train), ("test", prepared.test_seen)):
        expected = score_on(trial.head, trial.validation.fusion_weight, queries).metrics[NDCG]
        assert judged.standings[role].model == pytest.approx(expected)
    assert judged.course.objectives == (0.3, 0.5, 0.6)
    assert judged.seeds.objectives == (0.8, 0.9)
    assert 0.0 < judged.seeds.cosine <= trial.validation.objective


def test_time_is_the_search_s_and_memory_its_largest_trial_s(judged: Judged) -> None:
    found = {v.name: v for v in search_verdicts(judged, 25 * 3600.0, [600.0, 8000.0])}
    assert (found["time"].value, found["time"].outcome) == (25.0, "fail")
    assert found["peak memory"].value == pytest.approx(8000 * 2**20 / 1e9)
    assert found["peak memory"].outcome == "fail"
    none_known = {v.name: v for v in search_verdicts(judged, 1.0, [])}
    assert none_known["peak memory"].outcome == "not known"


def test_a_summary_has_a_verdict_for_every_target_and_the_screen_too(
    judged: Judged, tiny_space: Space, ended_run: Path
) -> None:
    trials = load_study(ended_run).get_trials()
    outcome = Outcome(tiny_space, trials, [], [], None, {"cosine": {}}, judged=judged)
    summary = summarise(outcome, 12.0, "abc")
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    names = [verdict["name"] for verdict in summary["verdicts"]]
    assert len(names) == 9
    console = Console(file=(file := StringIO()), width=200)
    print_verdicts(summary, console)
    assert all(name in file.getvalue() for name in names)


def test_a_search_without_a_best_trial_has_no_verdicts(tiny_space: Space) -> None:
    summary = summarise(Outcome(tiny_space, [], [], [], None, {"cosine": {}}), 1.0, "abc")
    assert summary["verdicts"] == []
    console = Console(file=(file := StringIO()), width=200)
    print_verdicts(summary, console)
    assert file.getvalue() == ""
