from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from rich.console import Console

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import SaturatedError
from quantum_rerank.training.trial_data import TrialData
from tuning.conclusion.conclude import load_best
from tuning.conclusion.confirmation import (
    Confirmation,
    best_objective,
    fresh_seeds,
)
from tuning.conclusion.export import cosine_objective
from tuning.conclusion.race import Confirmed, Race
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.records import StopKind, StopReason
from tuning.reporting.outcome_tables import print_confirmed
from tuning.study.run_folder import load_study
from tuning.workers.tasks import Tasks

RACE = Race(ratio=1 / 3)
BEFORE: dict[int, list[Any]] = defaultdict(list)  # the best are nobody's clones


@pytest.fixture
def best(ended_run: Path) -> list[TrainedTrial]:
    return load_best(load_study(ended_run).trials, 2, ended_run, [])


@pytest.fixture
def divisions(trial_data: TrialData) -> tuple[TrialData, ...]:
    """Return the division of the search for every seed, which these tests do not look at."""
    return (trial_data,) * 5


@pytest.fixture
def study(ended_run: Path) -> optuna.Study:
    return load_study(ended_run)


def test_each_is_trained_on_the_same_fresh_seeds_and_the_best_mean_comes_first(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    divisions: tuple[TrialData, ...],
) -> None:
    seeds_seen: list[int] = []
    found = Confirmation(divisions[:2], BEFORE, tasks(), study, [], RACE).confirm(best)
    assert {one.trial.number for one in found} == {trial.number for trial in best}
    assert found[0].mean >= found[1].mean
    for one in found:
        assert len(one.objectives) == 2
        config = one.trial.config
        assert config.seed not in seeds_seen
    known = study.user_attrs["confirmed"]
    seeds = {tuple(values) for values in known.values()}
    assert len(seeds) == 1
    assert not {str(trial.config.seed) for trial in best} & set(*seeds)


def test_a_seed_gives_what_a_training_with_it_gives(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    trial_data: TrialData,
    divisions: tuple[TrialData, ...],
) -> None:
    (one,) = Confirmation(divisions[:1], BEFORE, tasks(), study, [], RACE).confirm(best[:1])
    (seed,) = study.user_attrs["confirmed"][str(best[0].number)]
    config = best[0].config.model_copy(update={"seed": int(seed)})
    assert one.objectives == (best_objective(config, [], None, 0, divisions),)


def test_what_an_earlier_session_trained_is_not_trained_again(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    divisions: tuple[TrialData, ...],
) -> None:
    ticks: list[int] = []
    first = tasks(lambda: ticks.append(1))

    def stop_after_three() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            interrupted.stop_signal.stop(StopReason(StopKind.INTERRUPT))

    interrupted = tasks(stop_after_three)
    notes: list[str] = []
    assert [
        one.objectives
        for one in Confirmation(divisions[:2], BEFORE, interrupted, study, notes, RACE).confirm(
            best
        )
    ] == [
        (),
        (),
    ]
    assert notes == ["Not all of the best trials were confirmed on fresh seeds."]
    ticks.clear()
    found = Confirmation(divisions[:2], BEFORE, first, study, [], RACE).confirm(best)
    assert len(ticks) == 1
    assert all(len(one.objectives) == 2 for one in found)


def test_a_trial_of_which_a_seed_fails_comes_after_those_that_have_all(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    monkeypatch: pytest.MonkeyPatch,
    divisions: tuple[TrialData, ...],
) -> None:
    first, second = best
    is_first_try = True

    def some_fail(config: ExperimentConfig, before: Any, warm_ups: Any, *divided: Any) -> float:
        nonlocal is_first_try
        of_search = {"seed": first.config.seed, "data.validation_seed": None}
        if override(config, of_search) != first.config:
            return 0.6
        if is_first_try:
            is_first_try = False
            raise SaturatedError("the affinities are all the same")
        return 0.7

    monkeypatch.setattr("tuning.conclusion.confirmation.best_objective", some_fail)
    notes: list[str] = []
    found = Confirmation(divisions[:2], BEFORE, tasks(), study, notes, RACE).confirm(best)
    assert [(one.trial.number, one.objectives) for one in found] == [
        (second.number, (0.6, 0.6)),
        (first.number, ()),
    ]
    assert notes[0].endswith(": the affinities are all the same")
    assert notes[1:] == ["Not all of the best trials were confirmed on fresh seeds."]
    # Another session trains what is missing.
    found = Confirmation(divisions[:2], BEFORE, tasks(), study, [], RACE).confirm(best)
    assert [(one.trial.number, one.mean) for one in found] == [
        (first.number, pytest.approx(0.7)),
        (second.number, 0.6),
    ]


def test_where_every_trial_failed_on_a_seed_they_keep_their_order(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    monkeypatch: pytest.MonkeyPatch,
    divisions: tuple[TrialData, ...],
) -> None:
    def all_fail(config: ExperimentConfig, before: Any, warm_ups: Any, *divided: Any) -> float:
        raise SaturatedError("the affinities are all the same")

    monkeypatch.setattr("tuning.conclusion.confirmation.best_objective", all_fail)
    found = Confirmation(divisions[:1], BEFORE, tasks(), study, [], RACE).confirm(best)
    assert [(one.trial.number, one.objectives) for one in found] == [(b.number, ()) for b in best]


def objectives_of(
    monkeypatch: pytest.MonkeyPatch, numbers: dict[float, tuple[float, ...]]
) -> list[float]:
    """Let a training give the next objective of its learning rate; return what was trained."""
    trained: list[float] = []

    def next_objective(
        config: ExperimentConfig, before: Any, warm_ups: Any, *divided: Any
    ) -> float:
        rate = config.optimizer.mlp_lr
        trained.append(rate)
        return numbers[rate][trained.count(rate) - 1]

    monkeypatch.setattr("tuning.conclusion.confirmation.best_objective", next_objective)
    return trained


def racers(best: list[TrainedTrial], n_trials: int) -> list[TrainedTrial]:
    """Return trials of different learning rates, 0.1, 0.2, ..."""
    configs = [
        best[0].config.model_copy(
            update={
                "optimizer": best[0].config.optimizer.model_copy(
                    update={"mlp_lr": (number + 1) / 10}
                )
            }
        )
        for number in range(n_trials)
    ]
    return [replace(best[0], number=number, config=config) for number, config in enumerate(configs)]


def test_a_trial_that_is_clearly_behind_gets_no_more_seeds(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    monkeypatch: pytest.MonkeyPatch,
    divisions: tuple[TrialData, ...],
) -> None:
    values = {0.1: (0.50, 0.51, 0.50, 0.52, 0.51), 0.2: (0.40, 0.41), 0.3: (0.51, 0.50) * 3}
    trained = objectives_of(monkeypatch, values)
    found = Confirmation(divisions[:5], BEFORE, tasks(), study, [], RACE).confirm(racers(best, 3))
    assert [(one.trial.number, len(one.objectives)) for one in found] == [(0, 5), (2, 5), (1, 2)]
    assert len(trained) == 12
    trained.clear()
    again = Confirmation(divisions[:5], BEFORE, tasks(), study, [], RACE).confirm(racers(best, 3))
    assert again == found
    assert not trained  # an ended race is not run again


def test_a_race_ends_when_one_trial_is_left(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    monkeypatch: pytest.MonkeyPatch,
    divisions: tuple[TrialData, ...],
) -> None:
    trained = objectives_of(monkeypatch, {0.1: (0.4, 0.41), 0.2: (0.5, 0.51), 0.3: (0.3, 0.31)})
    found = Confirmation(divisions[:5], BEFORE, tasks(), study, [], RACE).confirm(racers(best, 3))
    assert [one.trial.number for one in found] == [1, 0, 2]
    assert len(trained) == 6


def test_without_seeds_the_trials_keep_their_order_and_objective(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    divisions: tuple[TrialData, ...],
) -> None:
    notes: list[str] = []
    found = Confirmation(divisions[:0], BEFORE, tasks(), study, notes, RACE).confirm(best)
    assert [one.trial.number for one in found] == [trial.number for trial in best]
    assert [one.mean for one in found] == [trial.validation.objective for trial in best]
    assert notes == []


def test_the_table_shows_what_each_came_to(best: list[TrainedTrial]) -> None:
    console = Console(file=io.StringIO(), width=120)
    print_confirmed([Confirmed(best[0], (0.4, 0.5, 0.6)), Confirmed(best[1], ())], console)
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "best trials on fresh seeds" in shown
    assert f"{best[0].number} 3 " in shown
    assert shown.endswith("0.5000 0.1000 0.4000 0.6000")


def test_gains_are_those_over_the_cosine_of_each_division(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    trial_data: TrialData,
) -> None:
    swapped = replace(trial_data, validation_in_domain=trial_data.validation_out_of_domain)
    found = Confirmation([trial_data, swapped], BEFORE, tasks(), study, [], RACE).confirm(best)
    for one in found:
        cosine = [cosine_objective(one.trial.config, data) for data in (trial_data, swapped)]
        assert cosine[0] != cosine[1]
        expected = [ours - theirs for ours, theirs in zip(one.objectives, cosine, strict=True)]
        assert one.gains == pytest.approx(expected)


def test_each_seed_trains_on_its_division(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    trial_data: TrialData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[tuple[int, int | None, int]] = []

    def watched(
        config: ExperimentConfig, before: Any, warm_ups: Any, index: int, divisions: Any
    ) -> float:
        used.append((config.seed, config.data.validation_seed, index))
        assert divisions[index] is (trial_data, swapped)[index]
        return 0.5

    swapped = replace(trial_data, validation_in_domain=trial_data.validation_out_of_domain)
    monkeypatch.setattr("tuning.conclusion.confirmation.best_objective", watched)
    Confirmation([trial_data, swapped], BEFORE, tasks(), study, [], RACE).confirm(best)
    first, second = fresh_seeds(2)
    assert sorted(used) == sorted([(first, first, 0), (second, second, 1)] * 2)


def test_a_race_ends_once_nobody_can_beat_the_reference(
    best: list[TrainedTrial],
    study: optuna.Study,
    tasks: Callable[..., Tasks],
    monkeypatch: pytest.MonkeyPatch,
    divisions: tuple[TrialData, ...],
) -> None:
    trained = objectives_of(
        monkeypatch, {0.1: (0.5, 0.51) * 3, 0.2: (0.498, 0.508) * 3, 0.3: (0.502, 0.512) * 3}
    )
    race = Race(1 / 3, reference=0, query_error=lambda _, __: 0.009)
    found = Confirmation(divisions, BEFORE, tasks(), study, [], race).confirm(racers(best, 3))
    assert [(one.trial.number, len(one.objectives)) for one in found] == [(0, 3), (2, 3), (1, 2)]
    assert len(trained) == 8
