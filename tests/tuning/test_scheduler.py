from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from tuning.records import EPOCH, FAILURE, NUMBER, OBJECTIVE
from tuning.scheduler import Asha, make_scheduler
from tuning.space import SchedulerConfig, Space

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE
NAN = float("nan")


@dataclass
class Race:
    """A scheduler and the trials that report to it, without a cluster."""

    scheduler: AsyncHyperBandScheduler

    def enter(self, number: int) -> Trial:
        trial = Trial("train", config={NUMBER: number}, trial_id=f"t{number}", stub=True)
        self.scheduler.on_trial_add(None, trial)
        return trial

    def report(self, trial: Trial, epoch: int, objective: float, **more: Any) -> str:
        result = {EPOCH: epoch, OBJECTIVE: objective, **more}
        decision: str = self.scheduler.on_trial_result(None, trial, result)
        return decision

    def rung(self, epoch: int) -> dict[str, float]:
        """Trial id -> objective, of those that were measured at an epoch."""
        rungs: dict[float, dict[str, float]] = dict(self.scheduler._brackets[0]._rungs)
        return rungs[epoch]


def asha(protected: set[int] | None = None) -> Race:
    return Race(Asha(max_epochs=9, grace=1, reduction=3.0, protected=protected or set()))


def test_a_weak_trial_is_stopped_at_a_rung_and_a_strong_one_goes_on() -> None:
    race = asha()
    good, weak, strong = (race.enter(number) for number in range(3))
    assert race.report(good, 1, 0.5) == CONTINUE
    assert race.report(weak, 1, 0.4) == STOP
    assert race.report(strong, 1, 0.6) == CONTINUE


def test_rungs_lie_a_factor_apart_from_the_grace_period_on() -> None:
    race = asha()
    good, weak = race.enter(0), race.enter(1)
    for epoch in range(1, 4):
        assert race.report(good, epoch, 0.5) == CONTINUE
    assert race.report(weak, 1, 0.5) == CONTINUE
    assert race.report(weak, 2, 0.1) == CONTINUE
    assert race.report(weak, 3, 0.1) == STOP
    assert [set(race.rung(epoch)) for epoch in (1, 3, 9)] == [{"t0", "t1"}, {"t0", "t1"}, set()]


def test_every_trial_is_stopped_at_the_last_epoch() -> None:
    race = asha()
    assert race.report(race.enter(0), 9, 0.9) == STOP


def test_a_protected_trial_is_never_stopped_and_still_fills_its_rungs() -> None:
    race = asha(protected={1})
    good, protected = race.enter(0), race.enter(1)
    race.report(good, 1, 0.5)
    assert race.report(protected, 1, 0.1) == CONTINUE
    assert race.report(protected, 9, 0.1) == CONTINUE
    assert race.rung(1) == {"t0": 0.5, "t1": 0.1}


@pytest.mark.parametrize("value", [NAN, float("inf"), float("-inf")])
def test_a_trial_without_a_finite_objective_is_stopped_at_once(value: float) -> None:
    race = asha()
    trial = race.enter(0)
    assert race.report(trial, 2, value) == STOP
    race.scheduler.on_trial_complete(None, trial, {EPOCH: 2, OBJECTIVE: value})
    assert race.rung(1) == {}


def test_a_failed_trial_is_stopped_at_once_and_fills_no_rung() -> None:
    race = asha()
    trial = race.enter(0)
    assert race.report(trial, 1, 0.9, **{FAILURE: "error: ValueError"}) == STOP
    failed = {EPOCH: 1, OBJECTIVE: 0.9, FAILURE: "error: ValueError"}
    race.scheduler.on_trial_complete(None, trial, failed)
    assert race.rung(1) == {}


def test_even_a_protected_trial_is_stopped_where_it_failed() -> None:
    race = asha(protected={0})
    trial = race.enter(0)
    assert race.report(trial, 1, NAN) == STOP


def test_a_trial_that_ends_by_itself_fills_the_last_rung() -> None:
    race = asha()
    trial = race.enter(0)
    race.scheduler.on_trial_complete(None, trial, {EPOCH: 9, OBJECTIVE: 0.7})
    assert race.rung(9) == {"t0": 0.7}


def test_a_trial_that_ends_without_a_report_fills_no_rung() -> None:
    race = asha()
    trial = race.enter(0)
    race.scheduler.on_trial_complete(None, trial, {})
    assert race.rung(1) == {}


def test_none_of_this_started_a_cluster() -> None:
    race = asha()
    race.report(race.enter(0), 1, 0.5)
    assert not ray.is_initialized()


def scheduler_of(space: Space, **values: Any) -> TrialScheduler:
    header = space.header.model_copy(update={"scheduler": SchedulerConfig(**values)})
    return make_scheduler(Space(header, space.base, space.parameters))


def test_a_space_without_a_scheduler_lets_every_trial_run(tiny_space: Space) -> None:
    assert type(scheduler_of(tiny_space, name="none")) is FIFOScheduler


def test_the_start_points_of_a_space_are_protected(tiny_space: Space) -> None:
    race = Race(make_scheduler(tiny_space))
    start, good, weak = (race.enter(number) for number in range(3))
    race.report(good, 1, 0.5)
    assert race.report(start, 1, 0.1) == CONTINUE
    assert race.report(weak, 1, 0.2) == STOP


def test_a_grace_period_beyond_the_last_epoch_ends_with_it(tiny_space: Space) -> None:
    race = Race(scheduler_of(tiny_space, grace_epochs=99, reduction_factor=2.0))
    trial = race.enter(5)
    assert race.report(trial, 2, 0.1) == CONTINUE
    assert race.report(trial, 3, 0.1) == STOP


def test_the_plain_scheduler_lets_nan_run_on() -> None:
    # The day this fails, Asha need not stop what is not finite.
    plain = AsyncHyperBandScheduler(
        time_attr=EPOCH, metric=OBJECTIVE, mode="max", max_t=9, grace_period=1, reduction_factor=3
    )
    race = Race(plain)
    race.report(race.enter(0), 1, 0.5)
    assert race.report(race.enter(1), 1, NAN) == CONTINUE
