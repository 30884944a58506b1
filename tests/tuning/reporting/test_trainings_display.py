"""The trainings at the end of a search are shown while they run."""

from __future__ import annotations

import io

from rich.console import Console

from tuning.records import TrainingsState
from tuning.reporting.trainings_display import TrainingsDisplay


def state(n_ended: int, share: float, seconds: float = 30.0, n_all: int = 4) -> TrainingsState:
    return TrainingsState("confirming", n_all, n_ended, 2, share, seconds)


def shown(states: list[TrainingsState], is_terminal: bool) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=is_terminal, width=100, color_system=None)
    with TrainingsDisplay(console) as display:
        for each in states:
            display.trainings_ran(each)
            display._live.refresh()
    return output.getvalue()


def test_a_log_has_a_line_per_ended_training() -> None:
    states = [state(0, 0.0), state(0, 0.1), state(2, 0.5), state(2, 0.6), state(4, 1.0)]
    assert shown(states, is_terminal=False).splitlines() == [
        "confirming: 2 of 4 trainings done, about 0:30 left",
        "confirming: 4 of 4 trainings done",
    ]


def test_the_next_trainings_are_counted_from_zero() -> None:
    states = [state(4, 1.0), state(0, 0.0, n_all=2), state(1, 0.5, n_all=2)]
    assert "confirming: 1 of 2 trainings done" in shown(states, is_terminal=False)


def test_a_terminal_shows_the_share_and_the_time_left() -> None:
    text = shown([state(0, 0.0), state(1, 0.25), state(4, 1.0)], is_terminal=True)
    assert "confirming: 0 of 4 trainings done" in text
    assert "confirming: 1 of 4 trainings done, about 1:30 left" in text
    assert "4 of 4" not in text


def test_no_time_is_guessed_before_anything_is_known() -> None:
    assert "left" not in shown([state(0, 0.001)], is_terminal=True)
