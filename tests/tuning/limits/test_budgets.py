from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from quantum_rerank.errors import ConfigError
from tuning.limits.budgets import CoreBudget, TimeBudget
from tuning.limits.concurrency import DRIVER_GIB, GIB, WORKER_GIB, Node, fit_cluster, fit_trials
from tuning.limits.memory_watchdog import MemoryWatchdog
from tuning.limits.stop_signal import StopSignal
from tuning.records import StopKind, StopReason


@dataclass
class HandTurned:
    """A clock that stands still until it is turned."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Memory:
    """Resident memory that follows a script, and stays at its last value."""

    values: list[int]
    looks: int = 0
    at_end: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> int:
        value = self.values[min(self.looks, len(self.values) - 1)]
        self.looks += 1
        if self.looks > len(self.values) + 2:
            self.at_end.set()
        return value


def test_a_time_budget_has_left_what_the_search_has_not_run() -> None:
    budget = TimeBudget(hours=0.5, elapsed=HandTurned(600.0))
    assert (budget.left(), budget()) == (1200.0, None)


def test_a_time_budget_that_is_used_up_says_so_and_has_nothing_left() -> None:
    elapsed = HandTurned(1799.9)
    budget = TimeBudget(hours=0.5, elapsed=elapsed)
    assert budget() is None
    for elapsed.now in (1800.0, 5000.0):
        assert (budget.left(), str(budget())) == (0.0, "time budget of 0.5 h")


def test_a_budget_of_core_hours_counts_what_trials_have_spent() -> None:
    spent = HandTurned(2 * 3600.0 - 1)
    budget = CoreBudget(2.0, spent)
    assert budget() is None
    spent.now += 1
    assert str(budget()) == "budget of 2 core-hours"


def test_a_search_ends_when_one_of_its_budgets_is_used_up() -> None:
    elapsed, spent = HandTurned(0.0), HandTurned(0.0)
    stop_signal = StopSignal([TimeBudget(2.0, elapsed), CoreBudget(3.0, spent)], HandTurned())
    assert stop_signal() is None
    spent.now = 3 * 3600.0
    assert str(stop_signal()) == "budget of 3 core-hours"


def test_the_first_reason_stays() -> None:
    elapsed = HandTurned(0.0)
    stop_signal = StopSignal([TimeBudget(2.0, elapsed)], HandTurned())
    stop_signal.stop(StopReason(StopKind.INTERRUPT))
    stop_signal.stop(StopReason(StopKind.HANGUP))
    elapsed.now = 9999.0
    assert stop_signal() == StopReason(StopKind.INTERRUPT)


def test_a_budget_that_is_used_up_ends_a_search_for_good() -> None:
    elapsed = HandTurned(7200.0)
    stop_signal = StopSignal([TimeBudget(2.0, elapsed)], HandTurned())
    assert str(stop_signal()) == "time budget of 2 h"
    elapsed.now = 0.0
    stop_signal.stop(StopReason(StopKind.INTERRUPT))
    assert str(stop_signal()) == "time budget of 2 h"


def test_an_ending_knows_for_how_long_the_search_has_been_over() -> None:
    clock, elapsed = HandTurned(), HandTurned(0.0)
    stop_signal = StopSignal([TimeBudget(2.0, elapsed)], clock)
    clock.now += 50
    assert stop_signal.seconds() == 0.0
    elapsed.now = 7200.0
    assert stop_signal.seconds() == 0.0
    clock.now += 12
    stop_signal.stop(StopReason(StopKind.INTERRUPT))
    assert stop_signal.seconds() == 12.0


def test_the_watchdog_calls_once_when_memory_goes_above_the_limit() -> None:
    excesses: list[int] = []
    called = threading.Event()

    def on_excess(used: int) -> None:
        excesses.append(used)
        called.set()

    memory = Memory([10, 20, 101, 300])
    with MemoryWatchdog(100, memory, on_excess, interval=0.001):
        called.wait()
        assert not memory.at_end.wait(0.05)
    assert excesses == [101]


def test_the_watchdog_lets_memory_at_the_limit_be_and_knows_its_peak() -> None:
    excesses: list[int] = []
    memory = Memory([10, 100, 30])
    with MemoryWatchdog(100, memory, excesses.append, interval=0.001) as watchdog:
        memory.at_end.wait()
    assert excesses == []
    assert watchdog.peak == 100


def test_the_watchdog_looks_at_the_beginning_and_the_end_of_a_short_trial() -> None:
    memory = Memory([10, 70])
    with MemoryWatchdog(100, memory, lambda _: None, interval=60.0) as watchdog:
        assert watchdog.peak == 10
    assert (watchdog.peak, memory.looks) == (70, 2)


@pytest.mark.parametrize(
    ("nodes", "trial_gb", "trials", "bound"),
    [
        pytest.param([Node(2, 6.0)], 8.0, 2, "cores", id="a small machine"),
        pytest.param([Node(8, 16.0)], 8.0, 8, "cores", id="a laptop"),
        pytest.param([Node(32, 64.0)], 8.0, 32, "cores", id="a server"),
        pytest.param([Node(64, 256.0)], 8.0, 64, "cores", id="a large server"),
        pytest.param([Node(8, 4 * 0.8 + DRIVER_GIB)], 8.0, 4, "memory", id="exactly enough"),
        pytest.param([Node(8, 4 * 0.8 + 1.4)], 8.0, 3, "memory", id="not quite"),
        pytest.param([Node(4, 64.0), Node(2, 64.0)], 8.0, 6, "cores", id="two nodes"),
        pytest.param([Node(4, 64.0), Node(8, 1.0)], 8.0, 4, "memory", id="one of them useless"),
        pytest.param([Node(8, 0.5), Node(1, 64.0)], 8.0, 1, "memory", id="one of them full"),
    ],
)
def test_trials_are_bounded_by_cores_and_by_expected_memory(
    nodes: list[Node], trial_gb: float, trials: int, bound: str
) -> None:
    found = fit_trials(nodes, trial_gb, expected_gib=0.8)
    assert found.trials == trials
    assert found.reason.endswith(f"0.8 GiB expected of a trial: bounded by {bound}")
    room = max(node.free_gib for node in nodes) - DRIVER_GIB
    assert found.trial_memory_gb == pytest.approx(min(trial_gb, room))


def test_less_memory_than_one_trial_is_expected_to_use_runs_one_with_what_there_is() -> None:
    found = fit_trials([Node(4, 5.0), Node(4, 3.0)], trial_memory_gb=8.0, expected_gib=6.0)
    assert (found.trials, found.trial_memory_gb) == (1, 5.0 - DRIVER_GIB)
    assert found.expected_gib == 5.0 - DRIVER_GIB


def test_no_trial_is_expected_to_use_more_than_its_limit() -> None:
    found = fit_trials([Node(8, 17.5)], trial_memory_gb=1.0, expected_gib=6.0)
    assert (found.trials, found.trial_memory_gb, found.expected_gib) == (8, 1.0, 1.0)
    assert fit_cluster([Node(8, 16.0)], 1.0, 6.0).reservation == {"memory": 1.0 * GIB}


@pytest.mark.parametrize("trial_gb", [0.1, WORKER_GIB - 0.01])
def test_a_budget_below_what_a_worker_needs_is_refused_with_the_rule(trial_gb: float) -> None:
    with pytest.raises(ConfigError, match=r"`budget\.trial_memory_gb` is") as caught:
        fit_trials([Node(4, 64.0)], trial_gb, 0.8)
    assert f"is {trial_gb:g}, but a worker needs {WORKER_GIB:g}" in str(caught.value)


def test_a_machine_without_room_for_one_worker_is_refused_with_the_rule() -> None:
    needed = DRIVER_GIB + WORKER_GIB
    with pytest.raises(ConfigError, match=f"a search needs {needed:g} GiB") as caught:
        fit_trials([Node(4, needed - 0.1)], trial_memory_gb=2.0, expected_gib=0.8)
    assert f"{needed - 0.1:.1f} GiB of memory are free" in str(caught.value)


def test_a_machine_with_room_for_just_one_worker_runs_one() -> None:
    assert fit_trials([Node(4, DRIVER_GIB + WORKER_GIB)], 2.0, 0.8).trials == 1


def test_a_machine_without_room_takes_nothing_from_the_others() -> None:
    large, full = Node(4, 17.5), Node(4, 0.2)
    assert fit_trials([large, full], 1.0, 1.0).trials == 4
    assert fit_trials([large], 1.0, 1.0).trials == 4


def test_memory_is_reserved_with_ray_only_where_trials_spread() -> None:
    assert fit_trials([Node(2, 20.0)], 2.0, 0.8).reservation == {}
    assert fit_cluster([Node(2, 20.0)], 2.0, 0.75).reservation == {"memory": 0.75 * GIB}


@pytest.mark.parametrize(
    ("nodes", "trials", "bound"),
    [
        pytest.param([Node(4, 32.0)], 4, "cores", id="cores"),
        pytest.param([Node(4, 4.0)], 4, "cores", id="exactly enough"),
        pytest.param([Node(4, 3.9)], 3, "memory", id="not quite"),
        pytest.param([Node(4, 64.0), Node(8, 2.5)], 6, "memory", id="unequal"),
        pytest.param([Node(4, 64.0), Node(8, 0.9)], 4, "memory", id="one without room"),
        pytest.param([Node(0, 99.0), Node(2, 16.0)], 2, "cores", id="a head that trains nothing"),
    ],
)
def test_a_cluster_takes_as_many_trials_as_fit_each_of_its_nodes(
    nodes: list[Node], trials: int, bound: str
) -> None:
    found = fit_cluster(nodes, 8.0, 1.0)
    assert (found.trials, found.trial_memory_gb, found.nodes) == (trials, 8.0, tuple(nodes))
    assert found.reason.endswith(f"bounded by {bound}")


@pytest.mark.parametrize(
    ("nodes", "largest"),
    [
        ([Node(4, 0.5), Node(2, 0.9), Node(0, 99.0)], "the largest of 3 has 2 cores and 0.9"),
        ([Node(0, 99.0)], "the largest of 1 has 0 cores"),
        ([], "the largest of 0"),
    ],
)
def test_a_cluster_without_room_for_a_trial_is_refused_rather_than_waited_for(
    nodes: list[Node], largest: str
) -> None:
    with pytest.raises(ConfigError, match=r"No node has a core and 1\.0 GiB for a") as caught:
        fit_cluster(nodes, 8.0, 1.0)
    assert largest in str(caught.value)


def test_a_cluster_is_held_to_what_a_worker_needs_too() -> None:
    with pytest.raises(ConfigError, match=r"`budget\.trial_memory_gb` is 0\.1"):
        fit_cluster([Node(4, 64.0)], 0.1, 0.8)
