from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from benchmarks.searcher import ours, plain
from benchmarks.simulation import Training, simulate
from quantum_rerank.config import ExperimentConfig
from tuning.records import EPOCH
from tuning.space import Budget, FloatParameter, Header, SchedulerConfig, Space

Call = tuple[str, str, int]  # method, trial, epoch


class Listening(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Suggests trials without parameters and records its calls."""

    def __init__(self) -> None:
        super().__init__(metric="objective", mode="max")
        self.calls: list[Call] = []

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.calls.append(("suggest", trial_id, 0))
        return {}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.calls.append(("result", trial_id, result[EPOCH]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        assert result
        self.calls.append(("complete", trial_id, result[EPOCH]))


class StopAt(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """Stops every trial at an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stops = result[EPOCH] >= self._epoch
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)


def two_epochs(params: Any) -> Training:
    return Training([0.1, 0.2], [10.0, 1.0])


def test_the_last_result_of_a_finished_trial_is_reported_twice() -> None:
    searcher = Listening()
    [ended] = simulate(searcher, FIFOScheduler(), two_epochs, n_trials=1, workers=1)
    assert searcher.calls[1:] == [
        ("result", "00000", 1),
        ("result", "00000", 2),
        ("complete", "00000", 2),
    ]
    assert (ended.epochs, ended.objective, ended.to_its_end, ended.at) == (2, 0.2, True, 11.0)


def test_the_result_that_stops_a_trial_is_reported_at_its_end() -> None:
    searcher = Listening()
    [ended] = simulate(searcher, StopAt(1), two_epochs, n_trials=1, workers=1)
    assert searcher.calls[1:] == [("complete", "00000", 1)]
    assert (ended.epochs, ended.to_its_end, ended.seconds) == (1, False, 10.0)


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_trial_is_suggested_for_a_free_worker_or_ahead_of_it(ahead: int) -> None:
    searcher = Listening()
    simulate(searcher, FIFOScheduler(), two_epochs, n_trials=4, workers=2, ahead=ahead)
    calls = [call for call, *_ in searcher.calls]
    assert calls[: calls.index("complete")].count("suggest") == 2 + ahead


def test_each_worker_runs_one_trial_at_a_time() -> None:
    ended = simulate(Listening(), FIFOScheduler(), two_epochs, n_trials=4, workers=2)
    assert [(end.number, end.at) for end in ended] == [(0, 11.0), (1, 11.0), (2, 22.0), (3, 22.0)]


def test_a_stopped_trial_is_pruned_in_our_study_and_complete_in_rays() -> None:
    header = Header(
        name="one",
        base="",
        budget=Budget(trials=6, epochs=4),
        scheduler=SchedulerConfig(grace_period=1, reduction_factor=2.0),
    )
    lr = FloatParameter(type="float", low=1e-4, high=1e-2, log=True)
    space = Space(header, ExperimentConfig(), {"optimizer.mlp_lr": lr})
    values = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])

    def falling(params: Any) -> Training:
        return Training([next(values)] * 4, [1.0] * 4)

    searcher, scheduler = ours(space, 0, 6)
    simulate(searcher, scheduler, falling, 6, workers=1)
    states = [trial.state for trial in searcher._study.get_trials()]
    assert states == [TrialState.COMPLETE] + [TrialState.PRUNED] * 5
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    values = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    searcher, scheduler = plain(space, 0)
    ended = simulate(searcher, scheduler, falling, 6, workers=1)
    finished = [trial for trial in searcher._ot_study.get_trials() if trial.state.is_finished()]
    assert [trial.state for trial in finished] == [TrialState.COMPLETE] * 6
    assert [end.epochs for end in ended] == [4, 1, 1, 1, 1, 1]
