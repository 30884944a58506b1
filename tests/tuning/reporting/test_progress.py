from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from optuna.trial import FrozenTrial, create_trial
from rich.console import Console
from rich.text import Text

from quantum_rerank.config import ExperimentConfig, override
from tests.tuning.reasons import failure
from tuning.records import OBJECTIVE, TrialEnd, TrialOutcome
from tuning.reporting.live_forecast import LiveForecast
from tuning.reporting.progress import BestSoFar, ProgressDisplay
from tuning.space import Budget, Header
from tuning.study.trials import OPTUNA_STATES
from tuning.study.view import StudyView


@dataclass
class Screen:
    """A display of 10 trials of 9 epochs in 2 hours, its clock turned by hand."""

    terminal: bool = False
    now: float = 0.0

    def __post_init__(self) -> None:
        self.file = StringIO()
        self.console = Console(file=self.file, width=160, force_terminal=self.terminal)
        self.trials: list[FrozenTrial] = []
        self.display = ProgressDisplay(self.console, self.forecast())

    def forecast(self) -> LiveForecast:
        budget = Budget(trials=10, epochs=9, hours=2.0)
        return LiveForecast(
            Header(name="small", base="base.yaml", budget=budget, confirm_seeds=0),
            view=lambda: StudyView(self.trials),
            elapsed=lambda: self.now,
            core_seconds=lambda: 0.0,
            clock=lambda: self.now,
        )

    def end(self, end: TrialEnd) -> None:
        """End a trial in the study, and tell the display of it."""
        state = OPTUNA_STATES[end.outcome]
        values = dict.fromkeys(range(1, end.epoch + 1), 0.5)
        value = 0.5 if end.outcome == TrialOutcome.COMPLETE else None
        trial = create_trial(state=state, value=value, intermediate_values=values)
        trial.number = end.number
        self.trials.append(trial)
        self.display.trial_ended(end)

    def lines(self) -> list[str]:
        """What was written, without colours and blank lines; the last live lines come last."""
        lines = [Text.from_ansi(line).plain.strip() for line in self.file.getvalue().splitlines()]
        return [line for line in lines if line]


CONFIG = ExperimentConfig()


def test_an_ended_trial_is_a_line_with_counts_best_and_time_left() -> None:
    screen = Screen()
    with screen.display as display:
        display.trial_started(0, CONFIG)
        for epoch in range(1, 10):
            screen.now = 60.0 * epoch / 9
            display.trial_reported(0, epoch, {OBJECTIVE: 0.5})
        screen.end(TrialEnd(0, TrialOutcome.COMPLETE, 9, 0.5))
    assert screen.lines() == [
        "[1:00] trial   0 complete epoch 9, objective 0.5000  "
        "1/10 done, 0 pruned, 0 failed, best 0.5000 (trial 0), about 12:00 left"
    ]


def test_every_ended_trial_has_a_line_of_its_own() -> None:
    screen = Screen()
    with screen.display as display:
        for number, value in enumerate((0.5, 0.7, 0.6)):
            display.trial_started(number, CONFIG)
            display.trial_reported(number, 1, {OBJECTIVE: value})
        display.trial_started(3, CONFIG)
        display.trial_ended(TrialEnd(0, TrialOutcome.PRUNED, 1, 0.5))
        display.trial_ended(TrialEnd(1, TrialOutcome.COMPLETE, 9, 0.7))
        display.trial_ended(
            TrialEnd(3, TrialOutcome.FAILED, 0, None, failure("oom: 8.1 GB resident [budget 8 GB]"))
        )
    first, second, third = screen.lines()
    assert "trial   0 pruned" in first
    assert "best 0.7000 (trial 1)" in second
    assert "(oom: 8.1 GB resident [budget 8 GB])" in third
    assert "objective" not in third
    assert "3/10 done, 1 pruned, 1 failed, best 0.7000 (trial 1)" in third


def test_an_attempt_that_another_continues_is_not_done() -> None:
    screen = Screen()
    with screen.display as display:
        for number in range(2):
            display.trial_started(number, CONFIG)
        display.trial_ended(
            TrialEnd(0, TrialOutcome.FAILED, 1, 0.5, failure("worker lost: it was killed"))
        )
        display.trial_ended(TrialEnd(1, TrialOutcome.COMPLETE, 9, 0.6))
    lost, complete = screen.lines()
    assert "trial   0 failed" in lost
    assert "0/10 done, 0 pruned, 0 failed" in lost
    assert "1/10 done, 0 pruned, 0 failed" in complete


def test_a_session_that_goes_on_knows_the_best_before_it() -> None:
    file = StringIO()
    screen = Screen()
    screen.trials = [create_trial(value=0.7) for _ in range(4)]
    for number, trial in enumerate(screen.trials):
        trial.number = number
    console = Console(file=file, width=160)
    display = ProgressDisplay(console, screen.forecast(), BestSoFar(0.7, 2))
    for number, value in ((4, 0.6), (5, 0.8)):
        display.trial_started(number, CONFIG)
        display.trial_reported(number, 1, {OBJECTIVE: value})
        display.trial_ended(TrialEnd(number, TrialOutcome.PRUNED, 1, value))
    lower, higher = file.getvalue().splitlines()
    assert "5/10 done, 1 pruned, 0 failed, best 0.7000 (trial 2)" in lower
    assert "6/10 done, 2 pruned, 0 failed, best 0.8000 (trial 5)" in higher


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        (60.0, "about 12:00"),
        (720.0, "1:48:00, when a budget ends it"),
        (3600.0, "1:00:00"),
        (7500.0, "0:00"),
    ],
)
def test_the_time_left_follows_the_pace_within_the_budget(seconds: float, left: str) -> None:
    screen = Screen()
    screen.display.trial_started(0, CONFIG)
    screen.now = seconds
    screen.display.trial_reported(0, 1, {OBJECTIVE: 0.5})
    screen.end(TrialEnd(0, TrialOutcome.PRUNED, 1, 0.5))
    assert f", {left}" in screen.lines()[0]


def test_without_a_report_no_trial_is_the_best() -> None:
    screen = Screen()
    screen.display.trial_started(0, CONFIG)
    screen.display.trial_ended(
        TrialEnd(0, TrialOutcome.FAILED, 0, None, failure("error: no such thing"))
    )
    assert "best" not in screen.lines()[0]


def test_a_terminal_shows_a_line_per_running_trial() -> None:
    screen = Screen(terminal=True)
    other = override(CONFIG, {"loss.name": "infonce", "circuit.n_qubits": 6})
    with screen.display as display:
        display.trial_started(0, CONFIG)
        display.trial_started(1, other)
        screen.now = 30.0
        display.trial_reported(1, 3, {OBJECTIVE: 0.6125})
    first, second, summary = screen.lines()[-3:]
    assert all(
        part in first for part in ("trial 0", "0/9", "warming up", "hybrid, triplet, 4 qubits")
    )
    assert all(part in second for part in ("trial 1", "3/9", "0.6125", "hybrid, infonce, 6 qubits"))
    assert "0/10 done" in summary


def test_a_trial_that_ended_leaves_the_live_lines() -> None:
    screen = Screen(terminal=True)
    with screen.display as display:
        display.trial_started(0, CONFIG)
        display.trial_started(1, CONFIG)
        display.trial_ended(TrialEnd(0, TrialOutcome.PRUNED, 1, 0.5))
    running, summary = screen.lines()[-2:]
    assert "trial 1" in running
    assert "1/10 done" in summary


def test_a_notice_is_printed_once_and_stays_below_the_live_lines() -> None:
    notice = "Ending: each trial stops after its epoch."
    elsewhere, terminal = Screen(), Screen(terminal=True)
    elsewhere.display.show_notice(notice)
    assert elsewhere.lines() == [notice]
    with terminal.display as display:
        display.show_notice(notice)
        display.trial_started(0, CONFIG)
    assert terminal.lines()[-1] == notice


def test_nothing_of_the_live_display_is_written_where_there_is_no_terminal() -> None:
    screen = Screen()
    reports: list[dict[str, Any]] = [{OBJECTIVE: 0.1}, {OBJECTIVE: 0.2}]
    with screen.display as display:
        display.trial_started(0, CONFIG)
        for epoch, metrics in enumerate(reports, start=1):
            display.trial_reported(0, epoch, metrics)
    assert screen.lines() == []


def test_the_estimate_after_a_quarter_of_the_trials_is_kept() -> None:
    screen = Screen()
    for number in range(5):
        assert (screen.display.early_estimate() is None) == (number < 3)
        screen.display.trial_started(number, CONFIG)
        screen.now += 60.0
        screen.display.trial_reported(number, 1, {OBJECTIVE: 0.5})
        screen.end(TrialEnd(number, TrialOutcome.PRUNED, 1, 0.5))
    # Three trials took 180 s; seven more and three baselines were to come, one after another.
    assert screen.display.early_estimate() == 180.0 + 10 * 60.0
