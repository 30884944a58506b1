"""The rule on hand-made curves, over a real study; a driver that dies between any two steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from tests.tuning.reasons import recorded
from tuning.algorithms.population import Population, highest, lowest
from tuning.records import FAILURE, UNSCHEDULED_EPOCH
from tuning.space import Budget, SchedulerConfig, Space
from tuning.space.mutation import mutable_keys
from tuning.study.attributes import AT_EPOCH, CLONES, CONTINUES, REPLACES, START_POINT, WARM_START
from tuning.study.resuming import close_running, enqueue_missing
from tuning.study.run_folder import open_study
from tuning.study.trials import is_cut_short
from tuning.study.view import StudyView

EPOCHS, INTERVAL = 6, 2
CURVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def space_with(
    space: Space, trials: int = 20, start_from: Sequence[dict[str, Any]] = (), **values: Any
) -> Space:
    scheduler = {"population": 4, "interval_epochs": INTERVAL, "quantile": 0.5} | values
    header = space.header.model_copy(
        update={
            "scheduler": SchedulerConfig(name="pbt", **scheduler),
            "budget": Budget(trials=trials, epochs=EPOCHS),
            "start_from": list(start_from),
        }
    )
    return Space(header, space.base, space.parameters)


def lowest_of(values: Mapping[int, float], quantile: float) -> list[int]:
    return lowest(values, SchedulerConfig(quantile=quantile).share(len(values)))


def highest_of(values: Mapping[int, float], quantile: float, population: int) -> list[int]:
    scheduler = SchedulerConfig(quantile=quantile, population=population)
    return highest(values, min(scheduler.share(len(values)), scheduler.n_donors))


class Search:
    """A study and the rule over it; the test plays the part of the trials."""

    def __init__(self, folder: Path, space: Space) -> None:
        self.folder, self.space = folder, space
        self.start_session()

    def start_session(self) -> None:
        """Begin as a session does, whatever the last one left behind."""
        self.study = open_study(self.folder, "tiny")
        self.population = Population(self.space, lambda: StudyView.of(self.study))
        close_running(self.study, "the search was killed")
        enqueue_missing(self.study, self.space)
        self.population.enqueue_clones(self.study)

    def begin(self) -> optuna.Trial:
        trial = self.study.ask()
        self.space.suggest(trial)
        return trial

    def report(self, trial: optuna.Trial, epoch: int, value: float) -> bool:
        """Report an epoch; a trial that is stopped is told, and a clone follows it."""
        stops = self.population.stops(trial.number, epoch, value)
        trial.report(value, epoch)
        if stops:
            self.study.tell(trial, state=TrialState.PRUNED)
            self.population.enqueue_clones(self.study)
        return stops

    def train(self, values: Mapping[int, float]) -> optuna.Trial:
        """A trial that reports its epochs until it is stopped."""
        trial = self.begin()
        for epoch, value in values.items():
            if self.report(trial, epoch, value):
                return trial
        if max(values) == EPOCHS:
            self.study.tell(trial, values[EPOCHS])
        return trial

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def queued(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self.trials if trial.state == TrialState.WAITING]


@pytest.fixture
def search(tmp_path: Path, tiny_space: Space) -> Search:
    return Search(tmp_path, space_with(tiny_space))


def curve(factor: float, last: int = EPOCHS) -> dict[int, float]:
    return {epoch: factor * value for epoch, value in enumerate(CURVE[:last], start=1)}


# Who is low and who is high.


@pytest.mark.parametrize(
    ("quantile", "low", "high"),
    [(0.25, [3], [1]), (0.5, [3, 0], [1, 2]), (0.2, [], [])],
)
def test_the_lowest_and_the_highest_are_a_share_of_those_that_came(
    quantile: float, low: list[int], high: list[int]
) -> None:
    values = {0: 0.4, 1: 0.9, 2: 0.5, 3: 0.1}
    assert lowest_of(values, quantile) == low
    assert highest_of(values, quantile, population=4) == high


def test_trials_that_came_in_from_another_run_take_no_place_and_no_budget(
    search: Search, tiny_space: Space
) -> None:
    for value in (0.5, 0.6, 0.7, 0.8):
        prior = search.begin()
        prior.set_user_attr(WARM_START, "runs/earlier#1")
        search.study.tell(prior, value)
    begun = 0
    while search.population.may_grow():
        search.begin()
        begun += 1
    assert begun == search.space.header.scheduler.population
    small = Population(space_with(tiny_space, trials=5), lambda: StudyView(search.trials))
    search.study.tell(search.trials[-1].number, 0.1)
    assert small.may_grow()


def test_there_are_never_more_donors_than_a_population_has() -> None:
    values = {number: float(number) for number in range(40)}
    assert highest_of(values, 0.25, population=8) == [39, 38]
    assert len(lowest_of(values, 0.25)) == 10


def test_of_equal_values_the_earlier_trial_is_the_better_one() -> None:
    values = dict.fromkeys(range(4), 0.5)
    assert lowest_of(values, 0.25) == [3]
    assert highest_of(values, 0.25, population=4) == [0]


def test_who_has_fallen_from_the_highest_never_comes_back() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        values: dict[int, float] = {}
        fallen: set[int] = set()
        for number in range(30):
            values[number] = float(rng.integers(6))
            donors = set(highest_of(values, 0.3, population=7))
            assert not donors & fallen
            kept = sorted(values, key=lambda n: (-values[n], n))[:2]
            fallen = set(values) - set(kept)


# The rule.


def test_the_lower_half_gives_way_at_an_interval_and_not_between(search: Search) -> None:
    good, low = search.begin(), search.begin()
    for epoch in (1, 2):
        assert not search.report(good, epoch, 0.5)
    assert not search.report(low, 1, 0.1)
    assert search.report(low, 2, 0.4)
    (clone,) = search.queued()
    assert clone.user_attrs == {CLONES: good.number, AT_EPOCH: 2, REPLACES: low.number}


def test_a_better_one_goes_on_and_the_first_to_come_has_nobody_to_give_way_to(
    search: Search,
) -> None:
    search.train(curve(0.5, last=2))
    assert not search.report(search.begin(), 2, 0.6)
    assert search.queued() == []


def test_nobody_gives_way_at_the_last_epoch(search: Search) -> None:
    search.train(curve(1.0))
    low = search.begin()
    assert not search.report(low, EPOCHS, 0.01)


def test_nobody_gives_way_to_one_that_is_no_better(search: Search) -> None:
    for _ in range(4):
        search.train({2: 0.5})
    assert search.queued() == []


def test_a_start_point_is_never_stopped_but_compared_with(
    tmp_path: Path, tiny_space: Space
) -> None:
    search = Search(tmp_path, space_with(tiny_space, start_from=[{}]))
    start, good = search.begin(), search.begin()
    assert START_POINT in start.user_attrs
    search.report(good, 2, 0.9)
    assert not search.report(start, 2, 0.1)
    assert not search.report(search.begin(), 2, 0.2)
    assert search.report(search.begin(), 2, 0.15)


def test_a_member_that_failed_is_no_donor_and_compared_with_nobody(search: Search) -> None:
    failed = search.begin()
    search.report(failed, 2, 0.9)
    failed.set_user_attr(FAILURE, recorded("nan: the loss became nan"))
    search.study.tell(failed, state=TrialState.FAIL)
    assert not search.report(search.begin(), 2, 0.1)


def clones_of_the_best(search: Search, n: int) -> list[optuna.trial.FrozenTrial]:
    """The clones that take the places of n members, all at the same epoch, of one donor."""
    search.train({2: 0.9})
    members = [search.begin() for _ in range(n)]
    for trial in members:
        assert search.report(trial, 2, 0.5)
    numbers = [search.begin().number for _ in members]
    return [search.trials[number] for number in numbers]


def test_a_clone_has_its_donor_s_architecture_and_other_numbers(search: Search) -> None:
    clones = clones_of_the_best(search, 6)
    donor = search.trials[0]
    free = mutable_keys(search.space)
    assert free == ["loss.name", "loss.margin", "optimizer.mlp_lr"]
    for clone in clones:
        assert clone.user_attrs[CLONES] == donor.number
        assert clone.params["circuit.n_qubits"] == donor.params["circuit.n_qubits"]
        assert any(clone.params.get(key) != donor.params.get(key) for key in free)


def test_no_two_clones_of_the_same_weights_are_the_same(tmp_path: Path, tiny_space: Space) -> None:
    search = Search(tmp_path, space_with(tiny_space, resample_probability=0.0))
    clones = clones_of_the_best(search, 6)
    assert len({str(clone.params) for clone in clones}) == 6


# Budget and places.


def test_nobody_is_stopped_whose_clone_could_not_start(tmp_path: Path, tiny_space: Space) -> None:
    search = Search(tmp_path, space_with(tiny_space, trials=3))
    search.train({2: 0.9})
    assert search.train({2: 0.1}).user_attrs == {}
    assert len(search.queued()) == 1
    low = search.begin()  # the clone
    assert not search.report(low, 4, 0.1)
    assert not search.population.may_grow()


def test_a_population_has_as_many_members_at_work_as_the_space_says(search: Search) -> None:
    members = []
    while search.population.may_grow():
        members.append(search.begin())
    assert len(members) == 4
    search.report(members[0], 2, 0.9)
    search.report(members[1], 2, 0.1)  # its clone has its place
    assert not search.population.may_grow()
    search.study.tell(members[0], 0.9)
    assert search.population.may_grow()


def test_a_budget_that_is_used_up_lets_no_member_in(tmp_path: Path, tiny_space: Space) -> None:
    search = Search(tmp_path, space_with(tiny_space, trials=5))
    for _ in range(5):
        assert search.population.may_grow()
        search.train(curve(0.5))
    assert not search.population.may_grow()


# A search that was killed.


def test_what_was_decided_is_not_decided_again_when_epochs_are_reported_once_more(
    search: Search,
) -> None:
    first = search.begin()
    search.report(first, 2, 0.1)  # the first to come
    good = search.begin()
    search.report(good, 2, 0.9)
    search.start_session()
    attempts = [search.begin(), search.begin()]
    assert [a.user_attrs[CONTINUES] for a in attempts] == [first.number, good.number]
    assert not search.report(attempts[0], 2, 0.1)
    assert not search.report(attempts[1], 2, 0.9)
    assert not search.report(attempts[1], 4, 0.9)
    assert search.report(attempts[0], 4, 0.1)


def test_what_the_end_of_a_search_kept_from_being_compared_is_compared_when_it_goes_on(
    search: Search,
) -> None:
    good, low = search.begin(), search.begin()
    search.report(good, 2, 0.9)
    low.report(0.1, 2)  # the search was over by then
    low.set_user_attr(UNSCHEDULED_EPOCH, 2)
    search.start_session()
    attempts = [search.begin(), search.begin()]
    assert not search.report(attempts[0], 2, 0.9)
    assert search.report(attempts[1], 2, 0.1)


def test_a_death_between_a_stop_and_its_clone_loses_no_member(search: Search) -> None:
    search.train({2: 0.9})
    low = search.begin()
    assert search.population.stops(low.number, 2, 0.1)
    low.report(0.1, 2)
    search.study.tell(low, state=TrialState.PRUNED)
    assert [t.number for t in StudyView(search.trials).without_successor()] == [low.number]
    for _ in range(3):
        search.start_session()
    clones = [t.user_attrs for t in search.queued() if CLONES in t.user_attrs]
    assert clones == [{CLONES: 0, AT_EPOCH: 2, REPLACES: low.number}]


def test_where_all_who_were_better_have_failed_the_place_is_free_again(search: Search) -> None:
    good, low = search.begin(), search.begin()
    search.report(good, 2, 0.9)
    assert search.population.stops(low.number, 2, 0.1)
    low.report(0.1, 2)
    good.set_user_attr(FAILURE, recorded("nan: the loss became nan"))
    search.study.tell(good, state=TrialState.FAIL)
    search.study.tell(low, state=TrialState.PRUNED)
    search.start_session()
    assert search.queued() == []
    members = 0
    while search.population.may_grow():
        search.begin()
        members += 1
    assert members == 4


def test_an_attempt_that_continues_a_clone_is_one_too(search: Search) -> None:
    search.train({2: 0.9})
    search.train({2: 0.1})
    clone = search.begin()
    while CLONES not in clone.user_attrs:
        clone = search.begin()
    search.start_session()
    attempts = [t for t in search.queued() if t.user_attrs.get(CONTINUES) == clone.number]
    (again,) = attempts
    assert again.user_attrs == {**clone.user_attrs, CONTINUES: clone.number}
    assert not StudyView(search.trials).without_successor()


def play(search: Search, seed: int, killed_at: set[int]) -> None:
    """Let members train epoch by epoch, in turns, until no more may start.

    killed_at: steps after which the driver is killed.
    """
    at_work: list[tuple[optuna.Trial, int]] = []
    step = 0
    while True:
        while search.queued() or (search.population.may_grow() and len(at_work) < 4):
            at_work.append(resumed(search))
        if not at_work:
            break
        trial, epoch = at_work.pop(0)
        origin = StudyView(search.trials).origins[trial.number]
        value = float(np.random.default_rng([seed, origin, epoch]).random())
        if not search.report(trial, epoch, value):
            if epoch == EPOCHS:
                search.study.tell(trial, value)
            else:
                at_work.append((trial, epoch + 1))
        step += 1
        if step in killed_at:
            search.start_session()
            at_work = []


def resumed(search: Search) -> tuple[optuna.Trial, int]:
    """The next trial with the epoch that it trains first; what was trained is reported again."""
    trial = search.begin()
    known = search.trials
    values = {
        epoch: value
        for one in known
        if StudyView(known).origins[one.number] == StudyView(known).origins[trial.number]
        for epoch, value in one.intermediate_values.items()
    }
    for epoch, value in values.items():
        assert not search.report(trial, epoch, value)
    start = trial.user_attrs.get(AT_EPOCH, 0)
    return trial, max(values, default=start) + 1


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.extended) for seed in (1, 2))]
)
def test_a_search_that_was_killed_ends_with_every_member_accounted_for(
    tmp_path: Path, tiny_space: Space, seed: int
) -> None:
    space = space_with(tiny_space, trials=7)
    search = Search(tmp_path, space)
    play(search, seed, killed_at={3, 11, 12, 20})
    trials = search.trials
    assert all(t.state.is_finished() for t in trials)
    assert not StudyView(trials).without_successor()
    over = [t for t in trials if not is_cut_short(t)]
    assert len(over) == 7
    assert len({str(t.params) for t in over}) == 7
    for trial in over:
        epochs = sorted(trial.intermediate_values)
        start = trial.user_attrs.get(AT_EPOCH, 0)
        last = EPOCHS if trial.state == TrialState.COMPLETE else epochs[-1]
        assert epochs == list(range(start + 1, last + 1))


def test_a_rule_that_was_made_anew_decides_as_one_that_never_stopped(search: Search) -> None:
    rng = np.random.default_rng(0)
    members = [search.begin() for _ in range(6)]
    for epoch in range(1, EPOCHS):
        for trial in members:
            if search.trials[trial.number].state.is_finished():
                continue
            value = float(rng.random())
            anew = Population(search.space, lambda: StudyView(search.trials))
            expected = anew.stops(trial.number, epoch, value)
            assert search.report(trial, epoch, value) == expected
    assert any(trial.state == TrialState.PRUNED for trial in search.trials)
