"""Calls, their time and lost workers, with workers that do as a script says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning.limits.deadlines import TimeLimits
from tuning.workers.task_pool import TaskPool, Worker, WorkerLost

Ended = list[tuple[str, Any, str]]


class Scripted(Worker):
    """Worker whose call returns, raises or loses its process when its time has come."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.calls = machine, [""]
        self.is_killed, self.begun = False, 0.0

    def begin(self, arguments: Sequence[Any]) -> None:
        self.calls.append(str(arguments[0]))
        self.begun = self.machine.now

    def n_epochs(self) -> int | None:
        starts = self.machine.start_seconds
        if starts is None or self.machine.now - self.begun < starts:
            return None
        return int((self.machine.now - self.begun) // self.machine.epoch_seconds)

    def has_ended(self) -> bool:
        return self.machine.now - self.begun >= self.machine.seconds[self.calls[-1]]

    def outcome(self) -> Any:
        outcomes = self.machine.outcomes[self.calls[-1]]
        outcome = outcomes.pop(0) if isinstance(outcomes, list) else outcomes
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def kill(self) -> None:
        assert not self.is_killed
        self.is_killed = True


@dataclass
class Machine:
    """Source of scripted workers, and their clock.

    Attributes:
        outcomes: Call -> its value or exception, or those of each attempt.
        seconds: Call -> seconds until it ends.
        start_seconds: Seconds until a worker answers; None for a worker that never does.
        epoch_seconds: Seconds of an epoch.
        now: Time.
        workers: All workers that were started.
    """

    outcomes: dict[str, Any]
    seconds: dict[str, float]
    start_seconds: float | None = 0.0
    epoch_seconds: float = 1.0
    now: float = 0.0
    workers: list[Scripted] = field(default_factory=list)

    def start(self) -> Worker:
        self.workers.append(Scripted(self))
        return self.workers[-1]

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        self.now += seconds
        return [worker for worker in self.workers if worker in workers and worker.has_ended()]


def run(
    machine: Machine,
    n_workers: int = 2,
    limits: TimeLimits | None = None,
    waits_for_nodes: bool = False,
) -> Ended:
    pool: TaskPool[str] = TaskPool(
        machine, limits or TimeLimits(), lambda: machine.now, waits_for_nodes
    )
    pool.start({call: (call,) for call in machine.outcomes}, n_workers)
    ended: Ended = []
    while pool.is_busy:
        ended += pool.ended(0.5)
        assert sum(not worker.is_killed for worker in machine.workers) <= n_workers
    assert all(worker.is_killed for worker in machine.workers)
    return ended


def test_two_workers_run_all_calls_one_after_another() -> None:
    machine = Machine({"a": 1, "b": 2, "c": 3}, {"a": 2.0, "b": 1.0, "c": 0.5})
    assert run(machine) == [("b", 2, ""), ("c", 3, ""), ("a", 1, "")]
    assert [worker.calls[1:] for worker in machine.workers] == [["a"], ["b", "c"]]


def test_no_more_workers_than_calls_are_started() -> None:
    machine = Machine({"a": 1}, {"a": 1.0})
    assert run(machine, n_workers=8) == [("a", 1, "")]
    assert len(machine.workers) == 1


def test_a_failed_call_gives_its_last_line_and_its_worker_goes_on() -> None:
    error = ValueError("remote traceback\nValueError: no loss")
    machine = Machine({"a": error, "b": KeyError(), "c": 3}, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert run(machine, n_workers=1) == [
        ("a", None, "ValueError: no loss"),
        ("b", None, "KeyError"),
        ("c", 3, ""),
    ]
    assert len(machine.workers) == 1


def test_a_call_whose_worker_is_lost_is_made_once_more() -> None:
    machine = Machine({"a": [WorkerLost(), 1]}, {"a": 1.0})
    pool: TaskPool[str] = TaskPool(machine, TimeLimits(), lambda: machine.now)
    pool.start({"a": ("a",)}, 1)
    assert list(pool.ended(1.0)) == []
    assert list(pool.ended(1.0)) == [("a", 1, "")]
    assert len(machine.workers) == 2


def test_a_call_that_loses_two_workers_fails_and_the_next_gets_a_new_one() -> None:
    machine = Machine({"a": [WorkerLost(), WorkerLost()], "b": 2}, {"a": 1.0, "b": 1.0})
    pool: TaskPool[str] = TaskPool(machine, TimeLimits(), lambda: machine.now)
    pool.start({"a": ("a",), "b": ("b",)}, 1)
    ended = [end for _ in range(3) for end in pool.ended(1.0)]
    assert ended == [
        ("a", None, "its worker was lost, and lost again in a second attempt"),
        ("b", 2, ""),
    ]
    assert len(machine.workers) == 3


def test_a_call_without_an_epoch_in_time_is_killed_and_the_next_begins() -> None:
    machine = Machine({"a": 1, "b": 2}, {"a": 600.0, "b": 30.0}, epoch_seconds=120.0)
    ended = run(machine, n_workers=1, limits=TimeLimits(epoch_minutes=1.0))
    assert ended == [("a", None, "timeout: no epoch ended within 1 min"), ("b", 2, "")]
    assert 60.0 < machine.workers[1].begun < 62.0


def test_epochs_in_time_keep_a_call_alive_until_its_hours_are_over() -> None:
    machine = Machine({"a": 1}, {"a": 600.0}, epoch_seconds=30.0)
    limits = TimeLimits(trial_hours=0.1, epoch_minutes=1.0)
    assert run(machine, limits=limits) == [("a", None, "timeout: longer than 0.1 h")]
    assert 360.0 < machine.now < 362.0


def test_the_time_of_a_call_begins_when_its_worker_is_up() -> None:
    machine = Machine({"a": 1}, {"a": 250.0}, start_seconds=200.0)
    assert run(machine, limits=TimeLimits(epoch_minutes=1.0)) == [("a", 1, "")]


def test_a_worker_that_does_not_start_is_given_up() -> None:
    machine = Machine({"a": 1}, {"a": 1000.0}, start_seconds=None)
    assert run(machine) == [("a", None, "its worker did not start within 300 s")]


def test_a_worker_may_wait_for_a_node_as_long_as_it_takes() -> None:
    machine = Machine({"a": 1}, {"a": 1000.0}, start_seconds=None)
    assert run(machine, waits_for_nodes=True) == [("a", 1, "")]


def test_a_free_worker_takes_the_call_that_still_waits_for_a_node() -> None:
    machine = Machine({"a": 1, "b": 2}, {"a": 1.0, "b": 1.0}, start_seconds=None)
    pool: TaskPool[str] = TaskPool(machine, TimeLimits(), lambda: machine.now, waits_for_nodes=True)
    pool.start({"a": ("a",), "b": ("b",)}, 2)
    first, waiting = machine.workers
    waiting.begun = 100.0
    assert list(pool.ended(1.0)) == [("a", 1, "")]
    assert waiting.is_killed
    assert first.calls[1:] == ["a", "b"]
    assert list(pool.ended(1.0)) == [("b", 2, "")]


def test_closing_kills_running_calls_and_forgets_the_rest() -> None:
    machine = Machine({"a": 1, "b": 2}, {"a": 9.0, "b": 9.0})
    pool: TaskPool[str] = TaskPool(machine, TimeLimits(), lambda: machine.now)
    pool.start({"a": ("a",), "b": ("b",)}, 1)
    pool.close()
    assert machine.workers[0].is_killed
    assert not pool.is_busy
