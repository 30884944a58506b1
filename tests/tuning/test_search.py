from __future__ import annotations

import os
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console
from typer.testing import CliRunner

from quantum_rerank.errors import ConfigError, OutputError
from tuning.best_trial import load_study
from tuning.budgets import TimeBudget
from tuning.progress import ProgressDisplay
from tuning.records import FAILURE
from tuning.search import INTERRUPT, Ending, app, ctrl_c_ends, finish_study

SMOKE = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"


@pytest.fixture
def budget() -> TimeBudget:
    """Two hours, by a clock that stands still."""
    return TimeBudget(2.0, lambda: 0.0)


@pytest.fixture
def display(budget: TimeBudget) -> ProgressDisplay:
    return ProgressDisplay(Console(file=StringIO()), 4, 3, budget, lambda: 0.0)


def test_a_search_ends_when_its_time_is_over() -> None:
    now = 0.0
    ending = Ending(TimeBudget(2.0, lambda: now), 2.0)
    assert ending() == ""
    now = 7200.0
    assert ending() == "time budget of 2 h"


def test_ctrl_c_goes_before_the_time_budget_as_the_reason() -> None:
    times = iter((0.0, 9999.0))
    ending = Ending(TimeBudget(2.0, lambda: next(times)), 2.0)
    ending.interrupted = True
    assert ending() == INTERRUPT


def test_the_first_ctrl_c_ends_in_order_and_the_second_stops_now(
    budget: TimeBudget, display: ProgressDisplay
) -> None:
    ending = Ending(budget, 2.0)
    before = signal.getsignal(signal.SIGINT)
    with ctrl_c_ends(ending, display):
        os.kill(os.getpid(), signal.SIGINT)
        assert ending() == INTERRUPT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_ctrl_c_the_handler_is_put_back_too(
    budget: TimeBudget, display: ProgressDisplay
) -> None:
    ending = Ending(budget, 2.0)
    before = signal.getsignal(signal.SIGINT)
    with ctrl_c_ends(ending, display):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    assert ending() == ""


@pytest.mark.parametrize(
    ("interrupted", "reason"),
    [(True, f"interrupted: {INTERRUPT}"), (False, "interrupted: stopped")],
)
def test_trials_that_nobody_told_of_are_failed_and_the_others_left_alone(
    ended_run: Path, budget: TimeBudget, interrupted: bool, reason: str
) -> None:
    study = load_study(ended_run)
    told = [trial.state for trial in study.get_trials()]
    left = [study.ask().number for _ in range(2)]
    ending = Ending(budget, 2.0)
    ending.interrupted = interrupted
    finish_study(ended_run, ending)
    trials = load_study(ended_run).get_trials()
    assert [trial.state for trial in trials] == [*told, TrialState.FAIL, TrialState.FAIL]
    assert [trials[number].user_attrs[FAILURE] for number in left] == [reason, reason]


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["--space", str(SMOKE), "--wandb", "disabled", *arguments])


def test_a_dry_run_prints_the_plan_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = call("--dry-run", "--output", str(folder), "--trials", "5", "--hours", "0.5")
    assert result.exit_code == 0
    assert "5 trials of at most 4 epochs" in result.output
    assert "0.5 h in all" in result.output
    assert not folder.exists()


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--trials", "0", "budget.trials"),
        ("--hours", "0", "budget.hours"),
        ("--hours", "nan", "budget.hours"),
        ("--trial-memory-gb", "-1", "budget.trial_memory_gb"),
        ("--trial-memory-gb", "0.1", "budget.trial_memory_gb"),
    ],
)
def test_a_budget_that_no_search_can_have_is_refused_before_anything_is_written(
    tmp_path: Path, option: str, value: str, named: str
) -> None:
    error = call("--output", str(tmp_path / "run"), option, value).exception
    assert isinstance(error, ConfigError)
    assert f"`{named}`" in str(error)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_another_run_is_refused(ended_run: Path) -> None:
    error = call("--output", str(ended_run)).exception
    assert isinstance(error, OutputError)
    assert len(load_study(ended_run).get_trials()) == 4
