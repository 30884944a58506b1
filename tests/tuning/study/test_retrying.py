from __future__ import annotations

from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from tuning.study.retrying import RetryingStorage, retry_call, waited
from tuning.study.view import StudyView


class Away(Exception):
    """What may pass."""


class Clock:
    """A clock that only sleeping moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Flaky(optuna.storages.InMemoryStorage):
    """A storage that fails as it was told, before or after it has done what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Iterator[Exception] = iter(())
        self.after: Iterator[Exception] = iter(())

    def set_trial_state_values(self, *given: object, **named: object) -> bool:  # type: ignore[override]
        for error in self.before:
            raise error
        result = super().set_trial_state_values(*given, **named)  # type: ignore[arg-type]
        for error in self.after:
            raise error
        return result

    def get_study_user_attrs(self, study_id: int) -> dict[str, object]:
        for error in self.before:
            raise error
        return super().get_study_user_attrs(study_id)


@pytest.fixture
def flaky() -> Flaky:
    return Flaky()


@pytest.fixture
def study(flaky: Flaky, clock: Clock) -> optuna.Study:
    storage = RetryingStorage(
        flaky, lambda error: isinstance(error, Away), 60.0, clock, clock.sleep
    )
    return optuna.create_study(storage=storage, direction="maximize")  # type: ignore[arg-type]


def failing(times: int, error: Exception) -> Callable[[], str]:
    errors = iter([error] * times)

    def call() -> str:
        for one in errors:
            raise one
        return "done"

    return call


def test_what_passes_is_tried_again_until_it_is_over(clock: Clock) -> None:
    passes = lambda error: isinstance(error, Away)  # noqa: E731
    assert retry_call(failing(8, Away()), passes, 60.0, clock, clock.sleep) == "done"
    assert clock.now == pytest.approx(2.0)


def test_patience_ends(clock: Clock) -> None:
    with pytest.raises(Away):
        retry_call(failing(10_000, Away()), lambda _: True, 60.0, clock, clock.sleep)
    assert clock.now == pytest.approx(60.0)


def test_what_does_not_pass_is_not_waited_for(clock: Clock) -> None:
    with pytest.raises(KeyError):
        retry_call(failing(1, KeyError()), lambda _: False, 60.0, clock, clock.sleep)
    assert clock.now == 0.0


def test_a_study_behaves_as_without_patience(study: optuna.Study) -> None:
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
    study.enqueue_trial({"x": 0.5}, user_attrs={"mine": 1})
    trial = study.ask()
    trial.report(0.2, 1)
    assert trial.suggest_float("x", 0.0, 1.0) == 0.5
    study.tell(trial, state=TrialState.PRUNED)
    assert [one.state.name for one in study.trials] == ["COMPLETE"] * 3 + ["PRUNED"]
    assert (study.trials[3].value, study.trials[3].user_attrs) == (0.2, {"mine": 1})
    assert study.best_value == max(one.value for one in study.trials[:3])
    assert waited(study) == 0.0


def test_what_may_be_a_pickle_is_left_out_of_every_answer_and_stays_in_the_study(
    study: optuna.Study, flaky: Flaky
) -> None:
    number = study.ask()._trial_id
    for key in ("cma:optimizer:0", "sepcma:optimizer:1", "cmawm:optimizer", "cma:generation"):
        flaky.set_trial_system_attr(number, key, "80")
    storage, kept = study._storage, {"cma:generation": "80"}
    assert [trial.system_attrs for trial in study.get_trials(deepcopy=False)] == [kept]
    assert storage.get_trial(number).system_attrs == kept
    assert storage.get_trial_system_attrs(number) == kept
    assert len(flaky.get_trial(number).system_attrs) == 4


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_trial_whose_telling_was_broken_off_is_told_once(
    study: optuna.Study, flaky: Flaky, when: str
) -> None:
    trial = study.ask()
    setattr(flaky, when, iter([Away(), Away()]))
    study.tell(trial, 0.5)
    (told,) = study.trials
    assert (told.state, told.value) == (TrialState.COMPLETE, 0.5)


def test_to_tell_what_another_has_told_is_an_error_all_the_same(study: optuna.Study) -> None:
    trial = study.ask()
    study.tell(trial, 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def test_what_was_waited_is_known_and_logged(
    study: optuna.Study, flaky: Flaky, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    flaky.before = iter([Away()] * 20)
    assert study.user_attrs == {}
    assert waited(study) == clock.now == pytest.approx(5.0)
    assert caplog.messages == ["The storage of the study took 5.0 s to answer"]


def test_once_patience_has_ended_nothing_is_waited_for_again(
    study: optuna.Study, flaky: Flaky, clock: Clock
) -> None:
    flaky.before = iter([Away()] * 10_000)
    with pytest.raises(Away):
        _ = study.user_attrs
    until = clock.now
    with pytest.raises(Away):
        study.get_trials()
    assert clock.now == until


def test_a_view_is_the_same_until_a_trial_changes(study: optuna.Study) -> None:
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    changes: list[Callable[[], object]] = [
        study.ask,
        lambda: study.enqueue_trial({"x": 0.5}),
        lambda: study._storage.set_trial_param(0, "x", 0.25, distribution),
        lambda: study._storage.set_trial_user_attr(0, "mine", 1),
        lambda: study._storage.set_trial_intermediate_value(0, 1, 0.5),
        lambda: study.tell(0, 0.5),
        lambda: study.add_trial(optuna.trial.create_trial(value=0.25)),
    ]
    for change in changes:
        before = StudyView.of(study)
        study.set_user_attr("session.1", 1)  # no attribute of a trial
        assert StudyView.of(study) is before
        change()
        after = StudyView.of(study)
        assert after is not before
        assert [vars(trial) for trial in after] == [vars(trial) for trial in study.trials]


def test_a_view_is_read_again_after_a_change_that_failed(study: optuna.Study, flaky: Flaky) -> None:
    study.ask()
    before = StudyView.of(study)
    flaky.after = iter([ValueError("it arrived, and the answer did not")])
    with pytest.raises(ValueError, match="it arrived"):
        study.tell(0, 0.5)
    assert StudyView.of(study) is not before
    assert StudyView.of(study)[0].state == TrialState.COMPLETE


def test_two_studies_of_a_storage_have_a_view_each(study: optuna.Study) -> None:
    other = optuna.create_study(storage=study._storage)
    other.ask()
    assert (len(StudyView.of(study)), len(StudyView.of(other))) == (0, 1)
    assert (len(StudyView.of(study)), len(StudyView.of(other))) == (0, 1)
