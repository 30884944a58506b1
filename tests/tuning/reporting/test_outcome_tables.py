from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest

from quantum_rerank.plain_console import PlainConsole
from tests.tuning.reasons import recorded
from tuning.conclusion.outcome import Outcome
from tuning.records import FAILURE
from tuning.reporting.outcome_tables import print_outcome, taken_over_table
from tuning.study.warm_start import Prior, TakenOver


def printed(outcome: Outcome) -> list[str]:
    console = PlainConsole(file=(file := StringIO()), width=200)
    print_outcome(outcome, console)
    return file.getvalue().splitlines()


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
    start = f"Leaderboard on {role} queries"
    (title,) = (n for n, line in enumerate(lines) if line.startswith(start))
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


def test_a_search_without_a_kept_trial_has_a_leaderboard_all_the_same(outcome: Outcome) -> None:
    none = replace(outcome, trials=outcome.trials[3:], confirmed=[], tested=[], default=None)
    assert any("cosine" in line for line in printed(none))


def test_a_run_that_trials_came_from_has_a_row_with_their_numbers() -> None:
    prior = Prior(key="/runs/old#7", state="complete", params={}, values={1: 0.5})
    taken = TakenOver(run="/runs/old", priors=[prior], left_out={"failed": 2, "not over": 1})
    console = PlainConsole(file=(file := StringIO()), width=200)
    console.print(taken_over_table([taken]))
    row = file.getvalue().splitlines()[2].split()
    assert row == ["1", "0", "0", "3", "/runs/old", "failed:", "2;", "not", "over:", "1"]
