from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from tuning.conclusion.outcome import Outcome
from tuning.records import StopKind, StopReason
from tuning.reporting.summary import summarise, write_trials
from tuning.study.attributes import WARM_START
from tuning.study.warm_start import Prior, TakenOver


def test_a_summary_counts_how_trials_ended(outcome: Outcome) -> None:
    summary = summarise(outcome, wall_seconds=12.34, fingerprint="abc")
    assert summary["states"] == {"complete": 2, "pruned": 1, "failed": 1}
    assert summary["n_trials"] == 4
    assert summary["failures"] == {"3": "nan: the loss became nan"}
    assert summary["peak_trial_rss_mb"] == 603.0
    assert (summary["wall_seconds"], summary["data_fingerprint"]) == (12.3, "abc")


def test_a_summary_holds_the_best_trial_beside_the_default_and_the_baseline(
    outcome: Outcome,
) -> None:
    summary = summarise(outcome, 1.0, "abc")
    best = outcome.tested[0]
    assert summary["best"] == summary["tested"][0]
    assert summary["best"]["number"] == 1
    assert summary["best"]["test"] == best.scores["test"].metrics
    assert summary["best"]["unseen_test"] == best.scores["unseen_test"].metrics
    assert summary["best"]["params"] == best.trial.params
    assert summary["default_config"]["number"] == 0
    assert summary["baseline"]["name"] == "cosine"
    assert summary["baseline"]["test"] == outcome.baselines["cosine"]["test"].metrics


def test_a_summary_tells_what_the_best_trials_came_to_on_fresh_seeds(outcome: Outcome) -> None:
    first, second = summarise(outcome, 1.0, "abc")["confirmed"]
    assert (first["number"], first["values"]) == (1, [0.5, 0.7])
    assert (first["mean"], first["std"]) == pytest.approx((0.6, 0.2 / 2**0.5))
    assert second["number"] == 0


def test_a_summary_is_plain_json(outcome: Outcome) -> None:
    summary = summarise(outcome, 1.0, "abc")
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_a_search_without_a_kept_trial_has_a_summary_all_the_same(outcome: Outcome) -> None:
    failed = outcome.trials[3:]
    none = Outcome(
        outcome.space, failed, [], [], None, outcome.baselines, StopReason(StopKind.INTERRUPT)
    )
    summary = summarise(none, 1.0, "abc")
    assert (summary["best"], summary["default_config"], summary["tested"]) == (None, None, [])
    assert summary["ended_early"] == "Ctrl-C"
    assert summary["states"] == {"complete": 0, "pruned": 0, "failed": 1}


def test_the_table_of_trials_has_a_row_per_trial_with_its_parameters(
    outcome: Outcome, tmp_path: Path
) -> None:
    write_trials(outcome.trials, tmp_path / "trials.csv")
    table = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False)
    assert list(table["number"]) == [0, 1, 2, 3]
    assert list(table["state"]) == ["complete", "complete", "pruned", "failed"]
    assert list(table["epochs"]) == [3, 3, 1, 1]
    assert [float(value) for value in table["objective"]] == [0.4, 0.6, 0.2, 0.95]
    assert list(table["reason"]) == ["", "", "", "nan: the loss became nan"]
    assert list(table["best_epoch"]) == ["1", "1", "1", ""]
    assert set(outcome.space.parameters) <= set(table.columns)


def test_a_formula_in_a_study_is_text_in_the_table_of_trials(tmp_path: Path) -> None:
    trial = create_trial(
        state=TrialState.FAIL,
        params={"=1+2": "@SUM(A1)"},
        distributions={"=1+2": CategoricalDistribution(["@SUM(A1)"])},
        user_attrs={WARM_START: "=cmd|' /C calc'!A0"},
    )
    write_trials([trial], tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="") as file:
        cells = {cell for row in csv.reader(file) for cell in row}
    assert {"'=1+2", "'@SUM(A1)", "'=cmd|' /C calc'!A0"} <= cells


def test_a_table_of_no_trials_is_written_too(tmp_path: Path) -> None:
    write_trials([], tmp_path / "trials.csv")
    assert (tmp_path / "trials.csv").read_text().strip() in ("", '""')


def test_what_came_in_from_earlier_runs_is_told_beside_the_search_s_own(
    outcome: Outcome, tmp_path: Path
) -> None:
    prior = Prior(key="/runs/old#7", state="complete", params={}, values={1: 0.5})
    taken = TakenOver(run="/runs/old", priors=[prior], left_out={"failed": 2, "not over": 1})
    summary = summarise(replace(outcome, taken_over=[taken]), 1.0, "abc")
    assert summary["n_trials"] == 4
    assert summary["warm_start"] == [
        {
            "run": "/runs/old",
            "complete": 1,
            "pruned": 0,
            "proposed": 0,
            "left_out": {"failed": 2, "not over": 1},
        }
    ]
    came_in = create_trial(value=0.5, user_attrs={WARM_START: prior.key})
    write_trials([*outcome.trials, came_in], tmp_path / "trials.csv")
    table = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False)
    assert list(table["from"]) == ["", "", "", "", "/runs/old#7"]
