from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuning.study.ranking import cost, front


def weighed(*values: tuple[float, float]) -> list[FrozenTrial]:
    """Complete trials with an objective and a cost each."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    for pair in values:
        study.add_trial(create_trial(values=list(pair)))
    return study.trials


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def test_a_front_has_whoever_is_best_at_its_cost_the_cheapest_first() -> None:
    trials = weighed((0.9, 30.0), (0.5, 10.0), (0.4, 20.0), (0.7, 20.0), (0.9, 40.0))
    assert numbers(front(trials)) == [1, 3, 0]


def test_of_equals_the_first_stands_for_all() -> None:
    assert numbers(front(weighed((0.5, 10.0), (0.5, 10.0), (0.5, 12.0)))) == [0]


@pytest.mark.parametrize("seed", range(5))
def test_a_front_is_what_optuna_calls_the_best_trials(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trials = weighed(*map(tuple, rng.random((30, 2)).tolist()))
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trials(trials)
    assert sorted(numbers(front(trials))) == sorted(numbers(study.best_trials))


def test_only_what_is_complete_and_weighed_has_a_cost() -> None:
    one = create_trial(value=0.5)
    failed = create_trial(state=TrialState.FAIL)
    assert (cost(one), cost(failed), cost(weighed((0.5, 3.0))[0])) == (None, None, 3.0)
    assert front([one, failed]) == []
