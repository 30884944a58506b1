from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuning.limits.concurrency import Concurrency
from tuning.limits.deadlines import TimeLimits
from tuning.limits.stop_signal import StopSignal
from tuning.records import StopKind, StopReason, TrainingsState
from tuning.workers.cluster import ray_cluster
from tuning.workers.tasks import Tasks, Training

Watch = Callable[[object], None]

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with ray_cluster(None):
        yield


def tasks(
    at_once: int = 2, memory_gb: float = 1.0, states: list[TrainingsState] | None = None
) -> Tasks:
    ending = StopSignal([], time.monotonic)
    heard = [] if states is None else states
    return Tasks(10, Concurrency(at_once, memory_gb, ""), ending, heard.append)


def results(
    tasks: Tasks,
    function: Callable[..., Any],
    arguments: Mapping[Any, Sequence[Any]],
    failed: Callable[[Any, str], None] = pytest.fail,
) -> dict[Any, Any]:
    """Return key -> result of the calls that succeeded."""
    trainings = {key: Training(values, 1.0) for key, values in arguments.items()}
    return dict(tasks.finished("testing", function, trainings, failed))


def test_each_call_gets_its_arguments_and_what_all_share(cluster: None) -> None:
    states: list[TrainingsState] = []
    given = {name: (value,) for value, name in enumerate("abcde")}
    found = results(tasks(states=states), lambda own, shared, _: own + shared, given)
    assert found == {"a": 10, "b": 11, "c": 12, "d": 13, "e": 14}
    assert {(state.purpose, state.n_all) for state in states} == {("testing", 5)}
    assert (states[0].n_ended, states[0].share) == (0, 0.0)
    assert (states[-1].n_ended, states[-1].share, states[-1].n_running) == (5, 1.0, 0)
    assert [state.share for state in states] == sorted(state.share for state in states)


def test_what_fails_is_told_with_its_last_line_and_the_rest_goes_on(cluster: None) -> None:
    def divide(own: int, shared: int, watch: Watch) -> float:
        return shared / own

    failed: dict[int, str] = {}
    found = results(tasks(), divide, {n: (n,) for n in range(3)}, failed.__setitem__)
    assert found == {1: 10.0, 2: 5.0}
    assert failed == {0: "ZeroDivisionError: division by zero"}


def test_a_call_above_its_memory_fails_alone(cluster: None) -> None:
    def take(gb: float, shared: int, watch: Watch) -> int:
        taken = np.ones(int(gb * 2**30 / 8))
        while gb > 1.0:
            time.sleep(0.1)  # until its worker is ended
        return len(taken)

    failed: dict[str, str] = {}
    given = {"modest": (0.1,), "greedy": (2.0,)}
    assert "modest" in results(tasks(memory_gb=1.0), take, given, failed.__setitem__)
    assert set(failed) == {"greedy"}


def test_a_call_whose_worker_was_lost_is_made_once_more(cluster: None, tmp_path: Path) -> None:
    def lose_worker(times: int, own: str, shared: int, watch: Watch) -> str:
        marks = len(list(tmp_path.glob(f"{own}-*")))
        (tmp_path / f"{own}-{marks}").touch()
        if marks < times:
            os.kill(os.getpid(), signal.SIGKILL)
        return own

    failed: dict[str, str] = {}
    given = {"once": (1, "once"), "twice": (2, "twice")}
    assert results(tasks(), lose_worker, given, failed.__setitem__) == {"once": "once"}
    assert set(failed) == {"twice"}


def test_no_more_run_at_once_than_fit(cluster: None, tmp_path: Path) -> None:
    def alone(own: int, shared: int, watch: Watch) -> bool:
        mark = tmp_path / "running"
        was_free = not mark.exists()
        mark.write_text(str(own))
        time.sleep(0.2)
        mark.unlink()
        return was_free

    found = results(tasks(at_once=1), alone, {n: (n,) for n in range(4)})
    assert found == dict.fromkeys(range(4), True)


def test_what_still_runs_is_ended_with_the_search(cluster: None, tmp_path: Path) -> None:
    def endless(own: int, shared: int, watch: Watch) -> None:
        (tmp_path / str(own)).write_text(str(os.getpid()))
        while True:
            time.sleep(0.1)

    running = tasks()

    def tick(_: TrainingsState) -> None:
        if len(list(tmp_path.iterdir())) == 2:
            running.stop_signal.stop(StopReason(StopKind.INTERRUPT))

    over = Tasks(10, running.concurrency, running.stop_signal, tick)
    assert results(over, endless, {0: (0,), 1: (1,)}) == {}
    for file in tmp_path.iterdir():
        pid = int(file.read_text())
        while _runs(pid):
            time.sleep(0.05)


@pytest.mark.parametrize("limits", [TimeLimits(epoch_minutes=9.0), TimeLimits(trial_hours=0.1)])
def test_a_worker_that_hangs_fails_by_its_deadline_and_the_rest_goes_on(
    cluster: None, tmp_path: Path, limits: TimeLimits
) -> None:
    def stop_or_end(call: str, shared: int, watch: Watch) -> str:
        (tmp_path / call).write_text(str(os.getpid()))
        if call == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        return call

    def clock() -> float:  # an hour passes at each look once only the hanging call is left
        if len(trained) == 3 and (tmp_path / "stopped").exists():
            hours.append(1)
        return 3600.0 * len(hours)

    hours: list[int] = []
    trained: dict[str, str] = {}
    failed: dict[str, str] = {}
    given = {call: (call,) for call in ("stopped", "first", "second", "third")}
    limited = replace(tasks(), limits=limits, clock=clock)
    trainings = {call: Training(values, 1.0) for call, values in given.items()}
    for call, value in limited.finished("testing", stop_or_end, trainings, failed.__setitem__):
        trained[call] = value
    assert failed == {"stopped": str(limits.exceeded(3600.0, 3600.0))}
    pid = int((tmp_path / "stopped").read_text())
    while _runs(pid):
        time.sleep(0.05)


def test_a_worker_whose_epochs_end_in_time_is_not_overdue(cluster: None, tmp_path: Path) -> None:
    def train(call: int, shared: int, watch: Watch) -> int:
        for epoch in range(3):
            watch(None)
            (tmp_path / "epoch").write_text(str(epoch))
            while (tmp_path / "epoch").exists():  # until the clock has been turned
                time.sleep(0.01)
        return call

    def turn_clock(_: TrainingsState) -> None:
        if (tmp_path / "epoch").exists() and len(turns) < 9:
            turns.append(1)
            if len(turns) % 3 == 0:  # the worker has been asked for its epochs twice
                (tmp_path / "epoch").unlink()

    turns: list[int] = []
    minute = TimeLimits(epoch_minutes=1.0)
    limited = replace(tasks(), limits=minute, clock=lambda: 45.0 * (len(turns) // 3))
    limited = replace(limited, on_tick=turn_clock)
    assert results(limited, train, {0: (0,)}) == {0: 0}


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
