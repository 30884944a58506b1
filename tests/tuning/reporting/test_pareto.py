from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import FrozenTrial, create_trial
from rich.console import Console

from tuning.conclusion.outcome import Outcome
from tuning.reporting.outcome_tables import print_outcome
from tuning.reporting.pareto import draw_front
from tuning.reporting.summary import summarise, write_trials
from tuning.space import Objective, Space


@pytest.fixture
def outcome(tiny_space: Space) -> Outcome:
    """Three trials of a search against the number of parameters, one of them outdone."""
    objective = Objective(cost="parameters")
    header = tiny_space.header.model_copy(update={"objective": objective})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    study = optuna.create_study(directions=objective.directions)
    study.add_trials([trial(0.5, 900.0), trial(0.4, 200.0), trial(0.3, 400.0)])
    return Outcome(space, study.trials, [], [], None, {"cosine": {}})


def trial(value: float, cost: float) -> FrozenTrial:
    params = {"circuit.n_qubits": 2}
    distributions = {"circuit.n_qubits": optuna.distributions.IntDistribution(2, 3)}
    return create_trial(values=[value, cost], params=params, distributions=distributions)


def test_a_summary_names_the_front_with_what_each_trial_costs(outcome: Outcome) -> None:
    summary = summarise(outcome, 1.0, "abc")
    params = {"circuit.n_qubits": 2}
    assert summary["objective"]["cost"] == "parameters"
    assert summary["pareto_front"] == [
        {"number": 1, "objective": 0.4, "cost": 200.0, "params": params},
        {"number": 0, "objective": 0.5, "cost": 900.0, "params": params},
    ]
    assert json.loads(json.dumps(summary)) == summary


def test_the_front_is_printed_the_cheapest_first(outcome: Outcome) -> None:
    console = Console(file=(file := StringIO()), width=200)
    print_outcome(outcome, console)
    lines = file.getvalue().splitlines()
    title = "Pareto front: validation objective against trained parameters"
    (start,) = (n for n, line in enumerate(lines) if title in line)
    rows = [line.split() for line in lines[start + 1 : start + 4]]
    assert rows[0][:3] == ["trial", "objective", "parameters"]
    assert [row[:3] for row in rows[1:]] == [["1", "0.4000", "200"], ["0", "0.5000", "900"]]


def test_the_table_of_trials_has_their_costs(outcome: Outcome, tmp_path: Path) -> None:
    write_trials(outcome.trials, tmp_path / "trials.csv")
    assert list(pd.read_csv(tmp_path / "trials.csv")["cost"]) == [900.0, 200.0, 400.0]


def test_the_page_opens_without_a_network_and_names_every_trial(
    outcome: Outcome, tmp_path: Path
) -> None:
    draw_front(outcome, tmp_path / "pareto.html")
    page = (tmp_path / "pareto.html").read_text(encoding="utf-8")
    assert not re.search(r"<script[^>]+src=", page)
    assert len(page) > 1_000_000  # the library is within
    drawn = page[page.rindex("Plotly.newPlot") :]
    assert all(f"trial {number}" in drawn for number in range(3))


def test_a_search_of_one_objective_has_no_page(outcome: Outcome, tmp_path: Path) -> None:
    header = outcome.space.header.model_copy(update={"objective": Objective()})
    space = Space(header, outcome.space.base, outcome.space.parameters)
    single = replace(outcome, space=space, trials=[create_trial(value=0.5)])
    draw_front(single, tmp_path / "pareto.html")
    assert summarise(single, 1.0, "abc")["pareto_front"] == []
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_that_draws_a_search_is_done_all_the_same(
    outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    draw_front(outcome, tmp_path / "pareto.html")
    (note,) = outcome.notes
    assert "pareto.html was not drawn" in note
    assert "pip install plotly" in note
