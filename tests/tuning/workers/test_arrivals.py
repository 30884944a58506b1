from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quantum_rerank.errors import SearchError
from tuning.workers.arrivals import (
    FAILED_STARTS,
    GIVEN_UP_SECONDS,
    WARNED_SECONDS,
    Arrivals,
    FailedStarts,
    read_failed_starts,
)

# As Ray writes them, of two workers whose environment lacks Ray.
LATE = "(raylet) worker_pool.cc:660: Some workers have not registered within the timeout."
RAYLET_OUT = f"""[2026-01-01 00:00:00,000 I 7 7] (raylet) main.cc:1: Starting
[2026-01-01 00:01:00,000 E 7 7] {LATE} The process is dead, probably it crashed during start.
[2026-01-01 00:02:00,000 E 7 7] {LATE} The process is still alive, probably it's hanging.
"""
RAYLET_ERR = """Traceback (most recent call last):
  File "default_worker.py", line 8, in <module>
    import ray
ModuleNotFoundError: No module named 'ray'
[2026-01-01 00:01:00,000 E 7 7] (raylet) worker_pool.cc:660: Some workers have not registered.
Creating virtual environment at: .venv
"""


NOTHING = FailedStarts(0, "")


@dataclass
class Watch:
    """A search that waits for its workers, its clock turned by hand."""

    may_wait: bool = False
    failed: FailedStarts = NOTHING
    now: float = 100.0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arrivals = Arrivals(
            lambda: self.now, self.told.append, lambda: self.failed, self.may_wait
        )

    def wait(self, seconds: float, is_running: bool = False) -> None:
        """Look once a second, as the loop of a search does, while a trial waits."""
        for _ in range(round(seconds)):
            self.arrivals.check(is_waiting=True, is_running=is_running)
            self.now += 1.0


def test_a_worker_that_comes_within_a_minute_is_nothing_to_tell() -> None:
    watch = Watch()
    watch.wait(WARNED_SECONDS)
    watch.wait(GIVEN_UP_SECONDS, is_running=True)
    assert watch.told == []


def test_a_wait_of_a_minute_is_told_once_with_ray_s_reason() -> None:
    watch = Watch(failed=FailedStarts(1, "the last error is `no module`"))
    watch.wait(2 * WARNED_SECONDS)
    assert watch.told == [
        "Ray has started no worker for a trial within 60 s; the last error is `no module`."
    ]


def test_each_wait_has_its_own_minute() -> None:
    watch = Watch()
    for _ in range(10):
        watch.wait(WARNED_SECONDS - 1)
        watch.wait(1, is_running=True)
    assert watch.told == []
    watch.wait(WARNED_SECONDS + 2)
    assert len(watch.told) == 1


def test_a_slow_machine_has_a_quarter_of_an_hour() -> None:
    watch = Watch()
    watch.wait(GIVEN_UP_SECONDS)
    assert len(watch.told) == 1
    with pytest.raises(SearchError, match="no worker for a trial within 15 min"):
        watch.wait(1)


def test_workers_that_die_again_and_again_end_the_search_with_their_error() -> None:
    watch = Watch()
    watch.wait(WARNED_SECONDS + 1)
    watch.failed = FailedStarts(FAILED_STARTS - 1, "no module")
    watch.wait(60)
    watch.failed = FailedStarts(FAILED_STARTS, "the last error is `no module`")
    with pytest.raises(SearchError, match=r"3 of Ray's workers died.*`no module`"):
        watch.wait(1)


def test_a_search_on_a_cluster_waits_for_its_turn() -> None:
    watch = Watch(may_wait=True, failed=FailedStarts(9, ""))
    watch.wait(10 * GIVEN_UP_SECONDS)
    assert len(watch.told) == 1
    assert "`ray status`" in watch.told[0]


def test_no_trial_that_waits_is_no_wait() -> None:
    watch = Watch()
    for _ in range(1000):
        watch.arrivals.check(is_waiting=False, is_running=False)
        watch.now += 1.0
    assert watch.told == []


def test_ray_s_logs_tell_how_many_workers_died_and_what_the_last_one_wrote(tmp_path: Path) -> None:
    (tmp_path / "raylet.out").write_text(RAYLET_OUT)
    (tmp_path / "raylet.err").write_text(RAYLET_ERR)
    failed = read_failed_starts(tmp_path)
    assert failed.count == 1
    assert "`ModuleNotFoundError: No module named 'ray'`" in failed.reason
    assert str(tmp_path) in failed.reason


def test_logs_without_a_failure_give_no_reason(tmp_path: Path) -> None:
    assert read_failed_starts(tmp_path) == FailedStarts(0, "")
    (tmp_path / "raylet.err").write_text("")
    assert read_failed_starts(tmp_path) == FailedStarts(0, "")


def test_an_escape_sequence_in_a_log_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "raylet.err").write_bytes(b"error: \x1b[2J \xff\n")
    assert "\x1b" not in read_failed_starts(tmp_path).reason
