from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from tests.tuning.reasons import failure
from tuning.algorithms.ray_scheduler import StopAtSignal, StopByRule
from tuning.algorithms.rules import MedianRule, NoRule, Rule, SuccessiveHalving, fill, make_rule
from tuning.records import (
    EPOCH,
    FAILURE,
    METADATA,
    OBJECTIVE,
    SECONDS,
    Donor,
    StopKind,
    StopReason,
    TrialMetadata,
)
from tuning.space import SamplerConfig, SchedulerConfig, Space
from tuning.study.view import StudyView

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE
NAN = float("nan")


def rule_of(space: Space, values: Mapping[int, Mapping[int, float]]) -> Rule:
    """The rule that a space names, filled with values of earlier sessions."""
    rule = make_rule(space, lambda: StudyView([]))
    fill(rule, values)
    return rule


# Successive halving.


def asha() -> SuccessiveHalving:
    return SuccessiveHalving(max_epochs=9, grace=1, reduction=3.0)


def test_a_weak_trial_is_stopped_at_a_rung_and_a_strong_one_goes_on() -> None:
    rule = asha()
    assert not rule.stops(0, 1, 0.5)
    assert rule.stops(1, 1, 0.4)
    assert not rule.stops(2, 1, 0.6)


def test_of_three_trials_the_best_third_goes_on() -> None:
    # The cutoff of 0.3, 0.5 and 0.6 is their quantile of 2/3, 0.5 + (0.6 - 0.5) / 3.
    for value, stops in ((0.53, True), (0.534, False)):
        rule = asha()
        for trial, earlier in enumerate((0.3, 0.5, 0.6)):
            rule.stops(trial, 1, earlier)
        assert rule.stops(3, 1, value) == stops


def test_rungs_lie_a_factor_apart_from_the_grace_period_on() -> None:
    rule = asha()
    assert not any(rule.stops(0, epoch, 0.5) for epoch in (1, 2, 3))
    assert [rule.stops(1, 1, 0.5), rule.stops(1, 2, 0.1), rule.stops(1, 3, 0.1)] == [
        False,
        False,
        True,
    ]
    assert rule.rungs() == [{1: 2, 3: 2, 9: 0}]


@pytest.mark.parametrize(
    ("max_epochs", "grace", "reduction", "rungs"),
    [
        (30, 3, 3.0, [3, 9, 27]),
        (243, 1, 3.0, [1, 3, 9, 27, 81, 243]),
        (10, 10, 2.0, [10]),
        (11, 2, 2.0, [2, 4, 8]),
        (20, 2, 1.5, [2, 3, 4, 7, 10, 15]),
    ],
)
def test_the_rungs_are_the_powers_that_fit(
    max_epochs: int, grace: int, reduction: float, rungs: list[int]
) -> None:
    (found,) = SuccessiveHalving(max_epochs, grace, reduction).rungs()
    assert list(found) == rungs


def test_a_trial_is_measured_at_a_rung_once() -> None:
    rule = asha()
    for trial, value in ((0, 0.5), (1, 0.6), (1, 0.1), (0, 0.9)):
        assert not rule.stops(trial, 1, value)
    assert rule.rungs()[0][1] == 2
    assert rule.stops(2, 1, 0.55)


@pytest.mark.parametrize("ties", [False, True])
def test_every_decision_is_that_of_ray_s_own_asha(ties: bool) -> None:
    for seed in range(20):
        rng = np.random.default_rng([seed, ties])
        grace, reduction = int(rng.integers(1, 5)), int(rng.integers(2, 6))
        max_epochs = int(rng.integers(grace + 2, 40))
        plain = AsyncHyperBandScheduler(
            time_attr=EPOCH,
            metric=OBJECTIVE,
            mode="max",
            max_t=max_epochs,
            grace_period=grace,
            reduction_factor=reduction,
        )
        rule = SuccessiveHalving(max_epochs, grace, reduction)
        epochs = dict.fromkeys(range(15), 0)
        trials = {n: Trial("train", config={}, trial_id=f"t{n}", stub=True) for n in epochs}
        for trial in trials.values():
            plain.on_trial_add(None, trial)
        decided = set()
        while epochs:  # whichever trial comes to its next epoch first
            number = int(rng.choice(list(epochs)))
            epochs[number] += 1
            value = float(rng.integers(5)) if ties else float(rng.normal())
            if epochs[number] == max_epochs:  # its end, which is not the rule's to decide
                del epochs[number]
                continue
            result = {EPOCH: epochs[number], OBJECTIVE: value}
            decision = plain.on_trial_result(None, trials[number], result)
            assert rule.stops(number, epochs[number], value) == (decision == STOP)
            decided.add(decision)
            if decision == STOP:
                del epochs[number]
        assert decided == {STOP, CONTINUE}


# Asynchronous Hyperband.


def hyperband(seed: int = 0, brackets: int = 3) -> SuccessiveHalving:
    return SuccessiveHalving(max_epochs=9, grace=1, reduction=3.0, n_brackets=brackets, seed=seed)


def brackets_of(rule: SuccessiveHalving, numbers: range) -> list[int]:
    """Which bracket each trial is in, by the rung that has one trial more at its last epoch."""
    found = []
    for number in numbers:
        before = rule.rungs()
        rule.stops(number, 9, 0.5)
        after = rule.rungs()
        (bracket,) = (b for b in range(len(after)) if after[b] != before[b])
        found.append(bracket)
    return found


def test_each_bracket_starts_a_rung_later() -> None:
    rungs = [list(bracket) for bracket in hyperband().rungs()]
    assert rungs == [[1, 3, 9], [3, 9], [9]]


def test_there_are_no_more_brackets_than_rungs() -> None:
    assert hyperband(brackets=7).rungs() == hyperband(brackets=3).rungs()


def test_a_trial_of_a_later_bracket_is_not_stopped_before_its_first_rung() -> None:
    numbers = range(30)
    brackets = brackets_of(hyperband(), numbers)
    for number, bracket in zip(numbers, brackets, strict=True):
        rule = hyperband()
        for other in range(100, 160):
            rule.stops(other, 9, 0.9)
            rule.stops(other, 1, 0.9)
            rule.stops(other, 3, 0.9)
        stopped = [epoch for epoch in range(1, 10) if rule.stops(number, epoch, 0.1)]
        assert stopped[0] == (1, 3, 9)[bracket]


def test_a_trial_s_bracket_follows_from_the_seed_and_its_number_alone() -> None:
    brackets = brackets_of(hyperband(seed=5), range(40))
    backwards = brackets_of(hyperband(seed=5), range(39, -1, -1))
    assert backwards[::-1] == brackets
    assert brackets_of(hyperband(seed=6), range(40)) != brackets


def test_brackets_that_cost_more_get_fewer_trials() -> None:
    found = np.bincount(brackets_of(hyperband(), range(1300)), minlength=3)
    # A rung later costs 3 times the epochs: shares of 9, 3 and 1 in 13.
    assert found == pytest.approx([900, 300, 100], abs=60)


# The median rule.


def test_a_trial_below_the_median_of_the_averages_so_far_is_stopped() -> None:
    for value, stops in ((0.44, True), (0.45, False), (0.46, False)):
        rule = MedianRule(grace=1, startup_trials=2)
        for trial, values in enumerate(((0.2, 0.4, 0.9), (0.5, 0.7, 0.9))):
            for epoch, own in enumerate(values, start=1):
                rule.stops(trial, epoch, own)
        # Up to epoch 2 the others averaged 0.3 and 0.6, of which the median is 0.45.
        assert rule.stops(2, 2, value) == stops


def test_trials_that_have_not_come_as_far_are_not_compared_with() -> None:
    rule = MedianRule(grace=1, startup_trials=1)
    rule.stops(0, 1, 0.9)
    assert not rule.stops(1, 2, 0.1)
    rule.stops(0, 2, 0.9)
    assert rule.stops(2, 2, 0.1)


@pytest.mark.parametrize(
    "rule", [MedianRule(1, 1), SuccessiveHalving(max_epochs=9, grace=1, reduction=3.0)]
)
def test_an_epoch_that_is_reported_once_more_is_not_decided_about_again(rule: Rule) -> None:
    rule.stops(0, 1, 0.5)
    assert not rule.stops(1, 1, 0.6)
    rule.stops(2, 1, 0.9)
    rule.stops(3, 1, 0.9)
    assert not rule.stops(1, 1, 0.6)
    assert rule.stops(4, 1, 0.6)


@pytest.mark.parametrize(("grace", "startup_trials"), [(4, 1), (1, 3)])
def test_the_median_rule_waits_for_its_grace_period_and_for_enough_others(
    grace: int, startup_trials: int
) -> None:
    rule = MedianRule(grace, startup_trials)
    for trial in (0, 1):
        for epoch in (1, 2, 3):
            rule.stops(trial, epoch, 0.9)
    assert not rule.stops(2, 3, 0.1)


# Ray's part: stub trials, no cluster.


@dataclass
class Race:
    """A rule as Ray's scheduler, and the trials that report to it."""

    rule: Rule = field(default_factory=asha)

    def __post_init__(self) -> None:
        self.scheduler = StopByRule(self.rule)

    def enter(self, number: int, protected: bool = False) -> Trial:
        config = {METADATA: TrialMetadata(number, is_protected=protected)}
        trial = Trial("train", config=config, trial_id=f"t{number}", stub=True)
        self.scheduler.on_trial_add(None, trial)
        return trial

    def report(self, trial: Trial, epoch: int, objective: float, **more: Any) -> str:
        result = {EPOCH: epoch, OBJECTIVE: objective, **more}
        decision: str = self.scheduler.on_trial_result(None, trial, result)
        return decision

    def rungs(self) -> dict[int, int]:
        assert isinstance(self.rule, SuccessiveHalving)
        return self.rule.rungs()[0]


def test_ray_is_told_to_stop_whom_the_rule_stops() -> None:
    race = Race()
    good, weak = race.enter(0), race.enter(1)
    assert race.report(good, 1, 0.5) == CONTINUE
    assert race.report(weak, 1, 0.4) == STOP


def test_a_protected_trial_is_never_stopped_and_still_fills_its_rungs() -> None:
    race = Race()
    good, protected = race.enter(0), race.enter(1, protected=True)
    race.report(good, 1, 0.5)
    assert race.report(protected, 1, 0.1) == CONTINUE
    assert race.report(protected, 9, 0.1) == CONTINUE
    assert race.rungs() == {1: 2, 3: 0, 9: 1}


@pytest.mark.parametrize("protected", [False, True])
@pytest.mark.parametrize("value", [NAN, float("inf"), float("-inf")])
def test_a_trial_without_a_finite_objective_is_stopped_at_once_and_fills_no_rung(
    value: float, protected: bool
) -> None:
    race = Race()
    assert race.report(race.enter(0, protected), 2, value) == STOP
    assert race.rungs()[1] == 0


@pytest.mark.parametrize("protected", [False, True])
def test_a_failed_trial_is_stopped_at_once_and_fills_no_rung(protected: bool) -> None:
    race = Race()
    trial = race.enter(0, protected)
    assert race.report(trial, 1, 0.9, **{FAILURE: failure("error: ValueError")}) == STOP
    assert race.rungs()[1] == 0


@pytest.mark.parametrize("value", [0.1, 0.9])
def test_without_a_rule_every_trial_runs(value: float) -> None:
    race = Race(NoRule())
    for number in range(3):
        trial = race.enter(number)
        assert [race.report(trial, epoch, value / (number + 1)) for epoch in range(1, 10)] == [
            CONTINUE
        ] * 9


class Controller:
    """The part of Ray's that a scheduler asks for trials, without any."""

    def get_trials(self) -> list[Trial]:
        return []

    get_live_trials = get_trials


def test_somebody_is_called_at_every_turn_of_ray_s_loop() -> None:
    called: list[Any] = []
    scheduler = StopByRule(NoRule(), called.append)
    controller = Controller()
    for _ in range(3):
        assert scheduler.choose_trial_to_run(controller) is None
    assert called == [controller] * 3


# Turns: many trials advance side by side on few cores.


class Stage:
    """The part of Ray's controller that knows who runs; the test starts trials as Ray would."""

    def __init__(self, n_trials: int, turns_at: range) -> None:
        self.scheduler = StopByRule(NoRule(), turns_at=turns_at)
        self.trials = [self.trial(number) for number in range(n_trials)]

    def trial(self, number: int, donor: tuple[int, int] | None = None) -> Trial:
        config = {METADATA: TrialMetadata(number, donor=donor and Donor(*donor))}
        return Trial("train", config=config, trial_id=f"t{number}", stub=True)

    def get_trials(self) -> list[Trial]:
        return self.trials

    get_live_trials = get_trials

    def pause_trial(self, trial: Trial, should_checkpoint: bool) -> None:
        assert not should_checkpoint  # a trial's progress is its own
        trial.status = Trial.PAUSED

    def start(self) -> int:
        """Give a free core to whom the scheduler chooses."""
        trial = self.scheduler.choose_trial_to_run(self)
        trial.status = Trial.RUNNING
        number: int = trial.config[METADATA].number
        return number

    def report(self, number: int, epoch: int) -> str:
        result = {EPOCH: epoch, OBJECTIVE: 0.5, SECONDS: 2.0 * epoch}
        decision: str = self.scheduler.on_trial_result(self, self.trials[number], result)
        return decision


def test_whoever_has_come_least_far_has_the_next_turn() -> None:
    stage, course = Stage(3, range(2, 6, 2)), []
    epochs = [0, 0, 0]
    for _ in range(9):
        number = stage.start()
        decision = CONTINUE
        while decision == CONTINUE and epochs[number] < 6:
            epochs[number] += 1
            decision = stage.report(number, epochs[number])
        course.append((number, epochs[number]))
        if epochs[number] == 6:
            stage.trials[number].status = Trial.TERMINATED
    assert course == [(0, 2), (1, 2), (2, 2), (0, 4), (1, 4), (2, 4), (0, 6), (1, 6), (2, 6)]
    assert [trial.config[METADATA].spent_seconds for trial in stage.trials] == [8.0] * 3


def test_a_trial_goes_on_where_nobody_waits_or_whoever_waits_has_come_further() -> None:
    stage = Stage(1, range(2, 6, 2))
    stage.start()
    assert stage.report(0, 2) == CONTINUE
    stage.trials.append(stage.trial(1, donor=(0, 4)))
    assert stage.report(0, 3) == CONTINUE
    stage = Stage(1, range(2, 6, 2))
    stage.start()
    stage.trials.append(stage.trial(1, donor=(0, 4)))
    assert stage.report(0, 2) == CONTINUE


def test_what_is_reported_again_after_a_turn_is_no_reason_for_another_one() -> None:
    stage = Stage(2, range(2, 6, 2))
    stage.start()
    assert stage.report(0, 2) == TrialScheduler.NOOP
    stage.trials[0].status = Trial.RUNNING
    assert [stage.report(0, epoch) for epoch in (1, 2, 3)] == [CONTINUE] * 3
    assert stage.report(0, 4) == TrialScheduler.NOOP


def test_without_turns_nobody_waits_for_another() -> None:
    stage = Stage(2, range(0))
    assert stage.start() == 0
    assert [stage.report(0, epoch) for epoch in range(1, 6)] == [CONTINUE] * 5
    assert stage.start() == 1


def test_every_trial_stops_at_its_next_report_once_the_search_is_over() -> None:
    reasons: list[StopReason | None] = [None]
    stopper = StopAtSignal(lambda: reasons[-1])
    assert not stopper("a", {EPOCH: 1})
    reasons.append(StopReason(StopKind.INTERRUPT))
    assert stopper("a", {EPOCH: 1})
    assert not stopper.stop_all()  # which would tell nobody


def test_none_of_this_started_a_cluster() -> None:
    race = Race()
    race.report(race.enter(0), 1, 0.5)
    assert not ray.is_initialized()


# From a space.


def space_with(space: Space, **values: Any) -> Space:
    header = space.header.model_copy(
        update={
            "scheduler": SchedulerConfig(**values),
            "budget": space.header.budget.model_copy(update={"epochs": 9}),
            "sampler": SamplerConfig(seed=3, startup_trials=2),
        }
    )
    return Space(header, space.base, space.parameters)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("asha", SuccessiveHalving),
        ("hyperband", SuccessiveHalving),
        ("median", MedianRule),
        ("none", NoRule),
    ],
)
def test_the_rule_is_the_one_that_the_space_names(
    tiny_space: Space, name: str, kind: type[Rule]
) -> None:
    assert type(rule_of(space_with(tiny_space, name=name), {})) is kind


@pytest.mark.parametrize(("name", "brackets"), [("asha", 1), ("hyperband", 2)])
def test_only_hyperband_has_several_brackets(tiny_space: Space, name: str, brackets: int) -> None:
    rule = rule_of(space_with(tiny_space, name=name, grace_period=1, brackets=2), {})
    assert isinstance(rule, SuccessiveHalving)
    assert len(rule.rungs()) == brackets


def test_a_grace_period_beyond_the_last_epoch_ends_with_it(tiny_space: Space) -> None:
    rule = rule_of(space_with(tiny_space, grace_period=99), {})
    assert isinstance(rule, SuccessiveHalving)
    assert rule.rungs() == [{9: 0}]


def decisions(
    rule: Rule, values: np.ndarray, numbers: range, history: dict[int, dict[int, float]]
) -> list[tuple[int, int, bool]]:
    """Let trials run one after another until they are stopped, and write down what they had."""
    found = []
    for number in numbers:
        history[number] = {}
        for epoch, value in enumerate(values[number], start=1):
            history[number][epoch] = float(value)
            stops = rule.stops(number, epoch, float(value))
            found.append((number, epoch, stops))
            if stops:
                break
    return found


@pytest.mark.parametrize("name", ["asha", "hyperband", "median", "none"])
@pytest.mark.parametrize("seed", range(2))
def test_a_rule_refilled_from_history_decides_as_one_that_never_stopped(
    tiny_space: Space, name: str, seed: int
) -> None:
    space = space_with(tiny_space, name=name, grace_period=1, reduction_factor=2.0)
    values = np.random.default_rng(seed).normal(size=(40, 9))
    history: dict[int, dict[int, float]] = {}
    never_stopped = rule_of(space, {})
    decisions(never_stopped, values, range(25), history)
    backwards = dict(reversed(history.items()))
    continued = [rule_of(space, order) for order in (history, backwards)]
    expected = decisions(never_stopped, values, range(25, 40), {})
    for rule in continued:
        assert decisions(rule, values, range(25, 40), {}) == expected
    assert any(stops for _, _, stops in expected) == (name != "none")


def test_a_history_of_gaps_fills_the_rungs_that_were_come_to(tiny_space: Space) -> None:
    history: Mapping[int, Mapping[int, float]] = {4: {3: 0.5, 1: 0.4}, 7: {1: 0.2}}
    space = space_with(tiny_space, grace_period=1, reduction_factor=3.0)
    rule = rule_of(space, history)
    assert isinstance(rule, SuccessiveHalving)
    assert rule.rungs() == [{1: 2, 3: 1, 9: 0}]


def test_the_plain_scheduler_lets_nan_run_on() -> None:
    # The day this fails, a rule may leave to Ray what is not finite.
    plain = AsyncHyperBandScheduler(
        time_attr=EPOCH, metric=OBJECTIVE, mode="max", max_t=9, grace_period=1, reduction_factor=3
    )
    for number, value, decision in ((0, 0.5, CONTINUE), (1, NAN, CONTINUE), (2, 0.4, STOP)):
        trial = Trial("train", config={}, trial_id=f"t{number}", stub=True)
        plain.on_trial_add(None, trial)
        assert plain.on_trial_result(None, trial, {EPOCH: 1, OBJECTIVE: value}) == decision
