from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.plain_console import PlainConsole
from quantum_rerank.training.trial_data import PreparedData
from tests.tuning.reasons import recorded
from tuning.conclusion.confirmation import Confirmed
from tuning.conclusion.outcome import Outcome
from tuning.conclusion.outcome import Tested as Scored
from tuning.conclusion.trained_trial import load_trial
from tuning.records import FAILURE, StopKind, StopReason
from tuning.reporting.outcome_tables import print_outcome, taken_over_table
from tuning.reporting.summary import summarise, write_trials
from tuning.space import Space
from tuning.study.attributes import WARM_START
from tuning.study.run_folder import load_study
from tuning.study.view import StudyView
from tuning.study.warm_start import Prior, TakenOver


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


def printed(outcome: Outcome) -> list[str]:
    console = PlainConsole(file=(file := StringIO()), width=200)
    print_outcome(outcome, console)
    return file.getvalue().splitlines()


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
    assert any("cosine" in line for line in printed(none))


def test_the_table_of_trials_has_a_row_per_trial_with_its_parameters(
    outcome: Outcome, tmp_path: Path
) -> None:
    write_trials(outcome.trials, tmp_path / "trials.csv")
    table = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False)
    assert list(table["number"]) == [0, 1, 2, 3]
    assert list(table["state"]) == ["complete", "complete", "pruned", "failed"]
    assert list(table["epochs"]) == [3, 3, 1, 1]
    assert [float(value) for value in table["objective"]] == [0.4, 0.6, 0.9, 0.95]
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


def test_what_failed_is_printed_last_with_its_reason(outcome: Outcome) -> None:
    lines = printed(outcome)
    (title,) = (n for n, line in enumerate(lines) if "Trials by validation objective" in line)
    rows = [line.split() for line in lines[title + 2 : title + 6]]
    assert [row[0] for row in rows][-1] == "3"
    assert rows[-1][1] == "failed"
    assert lines[title + 5].rstrip().endswith("nan: the loss became nan")


@pytest.mark.parametrize("role", ["test", "unseen_test"])
def test_the_leaderboard_of_a_role_holds_every_system(outcome: Outcome, role: str) -> None:
    lines = printed(outcome)
    (title,) = (n for n, line in enumerate(lines) if line.startswith(f"{role}: held-out queries"))
    board = "\n".join(lines[title : title + 8])
    assert all(name in board for name in ("cosine", "trial 1", "trial 0"))


def test_the_best_trial_is_held_against_every_other_system(outcome: Outcome) -> None:
    lines = printed(outcome)
    heads = [number for number, line in enumerate(lines) if line.lstrip().startswith("best minus")]
    assert len(heads) == 2
    for head in heads:
        others = [line.lstrip().split("  ")[0] for line in lines[head + 1 : head + 3]]
        assert others == ["cosine", "default (trial 0)"]


def test_a_reason_is_printed_as_it_is(outcome: Outcome) -> None:
    failed = outcome.trials[3]
    failed.user_attrs[FAILURE] = recorded("error: [errno 28] no space in [/tmp]")
    shown = printed(replace(outcome, notes=["See [/tmp]."]))
    assert any("[errno 28] no space in [/tmp]" in line for line in shown)
    assert shown[-1] == "See [/tmp]."


def test_notes_come_last(outcome: Outcome) -> None:
    assert printed(outcome)[-1] == "A note."


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
    console = PlainConsole(file=(file := StringIO()), width=200)
    console.print(taken_over_table([taken]))
    row = file.getvalue().splitlines()[2].split()
    assert row == ["1", "0", "0", "3", "/runs/old", "failed:", "2;", "not", "over:", "1"]
    came_in = create_trial(value=0.5, user_attrs={WARM_START: prior.key})
    write_trials([*outcome.trials, came_in], tmp_path / "trials.csv")
    table = pd.read_csv(tmp_path / "trials.csv", keep_default_na=False)
    assert list(table["from"]) == ["", "", "", "", "/runs/old#7"]
