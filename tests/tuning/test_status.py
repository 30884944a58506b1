from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial
from typer.testing import CliRunner

from quantum_rerank.errors import OutputError
from quantum_rerank.training.trial_data import PreparedData
from tests.tuning.reasons import recorded
from tuning import status
from tuning.records import FAILURE, OBJECTIVE, SECONDS, TrialEnd, TrialOutcome
from tuning.reporting import snapshot
from tuning.reporting.events import EARLY_END, EventLog
from tuning.reporting.run_status import RunStatus, run_status
from tuning.reporting.snapshot import read_snapshot
from tuning.space import Space
from tuning.study.attributes import CONTINUES, WARM_START
from tuning.study.run_folder import EVENTS, open_study, write_record
from tuning.study.storage import STUDY

HOST = {"host": "here", "pid": 0}
ENDS = {
    "COMPLETE": TrialOutcome.COMPLETE,
    "PRUNED": TrialOutcome.PRUNED,
    "FAIL": TrialOutcome.FAILED,
}


class Run:
    """A run of 6 trials of 3 epochs in an hour, written down bit by bit as a search would."""

    def __init__(self, folder: Path, space: Space, prepared: PreparedData) -> None:
        self.folder, self.space = folder, space
        write_record(space, prepared, folder)
        self.study = open_study(folder, space.header.name)
        self.events = EventLog(folder / EVENTS)
        self.n_sessions = 0
        self.now = datetime.now(UTC)

    def session(self, seconds: float, **more: Any) -> None:
        """A session that began `seconds` ago; `ended` is among `more` if it has."""
        self.n_sessions += 1
        started = self.now - timedelta(seconds=seconds)
        record = {"started": started.isoformat(), "seconds": seconds, "core_seconds": 0.0}
        record |= {**HOST, **more}
        self.study.set_user_attr(f"session.{self.n_sessions:04d}", record)

    def trial(
        self, state: str, values: Sequence[float], reason: str = "", **attributes: Any
    ) -> None:
        """A trial with its objective by epoch; RUNNING: it has not ended."""
        trial = self.study.ask()
        config = self.space.config_for(self.space.suggest(trial), trial.number)
        self.events.trial_started(trial.number, config)
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
            metrics = {OBJECTIVE: value, SECONDS: 10.0 * epoch}
            self.events.trial_reported(trial.number, epoch, metrics)
        for key, value in (attributes | ({FAILURE: recorded(reason)} if reason else {})).items():
            trial.set_user_attr(key, value)
        if state == "RUNNING":
            return
        trial.set_user_attr(SECONDS, 10.0 * len(values))
        self.study.tell(trial, values[-1] if state == "COMPLETE" else None, TrialState[state])
        end = TrialEnd(trial.number, ENDS[state], len(values), values[-1] if values else None)
        self.events.trial_ended(end)

    def status(self) -> RunStatus:
        return run_status(read_snapshot(self.folder))

    @contextmanager
    def held(self) -> Iterator[subprocess.Popen[str]]:
        """Hold the lock in another process."""
        command = [sys.executable, "-c", HOLD, str(self.folder / ".lock")]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def searching(
        self, spent: float = 100.0, core_seconds: float = 0.0
    ) -> Iterator[subprocess.Popen[str]]:
        """Be alive in another process, in a session that began so many seconds ago."""
        with self.held() as process:
            self.session(spent, core_seconds=core_seconds, pid=process.pid)
            yield process


HOLD = """
import fcntl, os, sys
with open(sys.argv[1], "a+") as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.truncate(0)
    print(os.getpid(), file=file, end="", flush=True)
    print("held", flush=True)
    sys.stdin.read()  # until the test ends this process, or is itself ended
"""


@pytest.fixture
def begin(
    tmp_path: Path, tiny_space: Space, prepared: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Run]:
    """Begin a run; whoever reads it does so at the moment when it was begun."""

    def start() -> Run:
        folder = tmp_path / "run"
        folder.mkdir()
        run = Run(folder, tiny_space, prepared)

        class Stopped(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:
                return run.now

        monkeypatch.setattr(snapshot, "datetime", Stopped)
        return run

    return start


def invoke(*arguments: object) -> str:
    """What the command prints, spaces made one."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(status.app, [str(one) for one in arguments])
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return "\n".join(" ".join(line.split()) for line in result.stdout.splitlines())


def test_a_finished_run_shows_its_trials_best_cost_and_last_events(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    for state, values in [("COMPLETE", [0.3, 0.6, 0.5]), ("PRUNED", [0.4]), ("FAIL", [])]:
        run.trial(state, values, "nan: the loss [bold] became nan" if state == "FAIL" else "")
    run.session(60.0, core_seconds=30.0, ended="")
    run.session(30.0, core_seconds=10.0, ended="")
    shown = invoke(run.folder)
    assert "tiny finished" in shown
    assert "trials 3/6 done: 1 complete, 1 pruned, 1 failed (nan 1)" in shown
    assert "best 0.6000 in trial 0 (complete), epoch 2" in shown
    assert "spent 1:30 of 1:00:00, cores 0:40, 2 sessions" in shown
    assert "nan 1 2 nan: the loss [bold] became nan" in shown
    assert "1 pruned, objective 0.4000" in shown
    assert "Running" not in shown


def test_json_is_one_object_with_the_same_facts(begin: Callable[[], Run]) -> None:
    run = begin()
    run.trial("COMPLETE", [0.3, 0.6, 0.5])
    run.session(60.0, core_seconds=30.0, ended="")
    (line,) = invoke(run.folder, "--json").splitlines()
    facts = json.loads(line)
    assert facts["life"]["state"] == "finished"
    assert facts["progress"]["complete"] == 1
    assert facts["best"] == {"trial": 0, "state": "complete", "epoch": 2, "objective": 0.6}
    assert facts["cost"] == {
        "seconds": 60.0,
        "budget_seconds": 3600.0,
        "left_seconds": 3540.0,
        "core_seconds": 30.0,
        "core_budget_seconds": None,
    }
    assert facts["forecast"] is None
    assert [event["event"] for event in facts["events"]] == ["started", *3 * ["reported"], "ended"]
    assert all("config" not in event for event in facts["events"])


def test_a_run_that_was_ended_early_says_by_what_and_how_to_go_on(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    run.session(60.0, ended="Ctrl-C")
    shown = invoke(run.folder)
    assert "ended early by Ctrl-C: continue with `python -m tuning.search --resume" in shown
    assert "left 6 trials to come, 59:00 of the time budget" in shown


def test_a_run_whose_process_is_gone_was_killed_and_its_trials_wait_to_be_continued(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    with run.searching() as process:
        run.trial("RUNNING", [0.5])
        assert run.status().life.state == "running"
        process.kill()
    found = run.status()
    assert (found.life.state, found.running) == ("killed", [])
    assert (found.progress.open, found.progress.running, found.progress.to_come) == (1, 0, 6)
    shown = invoke(run.folder)
    assert "1 interrupted (0 of them continued)" in shown
    assert "best 0.5000 in trial 0 (interrupted), epoch 1" in shown


def test_an_interrupted_trial_that_another_continues_is_counted_as_such(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    run.trial("FAIL", [0.5], "interrupted: the search was killed")
    run.trial("FAIL", [0.4], "worker lost")
    run.trial("COMPLETE", [0.5, 0.6, 0.7], **{CONTINUES: 0})
    run.session(60.0, ended="")
    progress = run.status().progress
    assert (progress.finished, progress.continued, progress.open) == (1, 1, 1)
    assert progress.failed == {}


def test_a_live_run_shows_what_each_trial_is_doing_and_what_is_left(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    with run.searching(100.0, core_seconds=30.0) as process:
        run.trial("PRUNED", [0.4])
        run.trial("RUNNING", [0.4, 0.5])
        run.trial("RUNNING", [])
        found = run.status()
        shown = invoke(run.folder)
    assert f"running, searching (process {process.pid} on here)" in shown
    assert found.cost.seconds == 100.0
    assert found.cost.core_seconds == 30.0
    second, third = found.running
    assert (second.number, second.epoch, second.epochs, second.objective) == (1, 2, 3, 0.5)
    assert (third.number, third.epoch, third.objective) == (2, 0, None)
    assert "2 qubits, 2 layers" in second.what or "3 qubits, 2 layers" in second.what
    assert found.progress.to_come == 3
    assert found.forecast is not None
    assert found.forecast.at_once == 2
    assert "about 0:0" in shown
    assert "3 trials to come, 2 running, 2 at once" in shown
    assert "2 0/3 - warming up" in shown


def test_nothing_is_to_come_once_the_search_proposes_no_further_trial(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    run.session(60.0, ended="")
    run.events.write("session_started")
    run.trial("COMPLETE", [0.2, 0.3, 0.4])
    assert run.status().progress.to_come == 5
    run.events.write(EARLY_END, reason="No further trial was proposed after 1 of 6: enough")
    assert run.status().progress.to_come == 0
    assert "No further trial was proposed after 1 of 6" in invoke(run.folder)
    run.events.write("session_started")  # more are asked for
    assert run.status().progress.to_come == 5


def test_a_session_does_not_try_again_what_it_lost_but_the_next_one_will(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    with run.searching():
        run.trial("FAIL", [0.5], "worker lost")
        assert run.status().progress.to_come == 5
    assert run.status().progress.to_come == 6


def test_a_live_run_without_a_report_promises_only_its_budget(begin: Callable[[], Run]) -> None:
    run = begin()
    with run.searching(600.0):
        run.trial("RUNNING", [])
        assert run.status().forecast is None
        assert "at most 50:00: 5 trials to come, 1 running" in invoke(run.folder)


def test_a_live_run_is_preparing_then_searching_then_concluding(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    with run.held() as process:
        run.session(60.0, ended="Ctrl-C")
        assert run.status().life.phase == "preparing"
        run.session(10.0, pid=process.pid)
        run.events.write("session_started", trials_to_go=6)
        assert run.status().life.phase == "preparing"
        run.trial("RUNNING", [0.5])
        assert run.status().life.phase == "searching"
        run.study.tell(0, state=TrialState.PRUNED)
        assert run.status().life.phase == "concluding"
        assert "session started, 6 trials to go" in invoke(run.folder)
        run.study.set_user_attr(
            "session.0002",
            {
                "started": "2030-01-01T00:00:00+00:00",
                "seconds": 9.0,
                "core_seconds": 0.0,
                "pid": process.pid,
                "ended": "",
            },
        )
        assert run.status().life.phase == "concluding"
        assert run.status().cost.seconds == 69.0


def test_the_time_of_earlier_sessions_counts(begin: Callable[[], Run]) -> None:
    run = begin()
    run.session(500.0, ended="Ctrl-C")
    with run.searching(100.0):
        cost = run.status().cost
    assert cost.seconds == 600.0
    assert cost.left == 3000.0


def test_an_extended_budget_is_the_one_shown(begin: Callable[[], Run]) -> None:
    run = begin()
    run.session(60.0, ended="")
    run.study.set_user_attr("budget", {"trials": 9, "hours": 2.0, "core_hours": 4.0})
    shown = invoke(run.folder)
    assert "0/9 done" in shown
    assert "spent 1:00 of 2:00:00, cores 0:00 of 4:00:00, 1 session" in shown


def test_failures_are_counted_by_kind_with_the_latest_as_example(
    begin: Callable[[], Run],
) -> None:
    run = begin()
    for reason in ("oom: 9 GB", "error: ValueError: no", "oom: 8 GB", "worker lost"):
        run.trial("FAIL", [], reason)
    run.session(60.0, ended="")
    found = run.status()
    assert [(f.kind, f.count, f.trial) for f in found.failures] == [
        ("oom", 2, 2),
        ("error", 1, 1),
        ("worker lost", 1, 3),
    ]
    assert found.progress.failed == {"oom": 2, "error": 1}


@pytest.mark.parametrize(
    ("trials", "best"),
    [
        ([("PRUNED", [0.9]), ("COMPLETE", [0.2, 0.3, 0.3])], (0, 0.9, 1)),
        ([("PRUNED", [0.2]), ("COMPLETE", [0.2, 0.3, 0.3])], (1, 0.3, 2)),
        ([("PRUNED", [0.8]), ("PRUNED", [0.9])], (1, 0.9, 1)),
        ([("FAIL", [])], None),
    ],
)
def test_the_best_trial_is_the_one_with_the_best_epoch(
    begin: Callable[[], Run],
    trials: list[tuple[str, list[float]]],
    best: tuple[int, float, int] | None,
) -> None:
    run = begin()
    for state, values in trials:
        run.trial(state, values)
    found = run.status().best
    assert (found and (found.trial, found.objective, found.epoch)) == best


def test_a_line_that_is_being_written_is_passed_over(begin: Callable[[], Run]) -> None:
    run = begin()
    run.trial("PRUNED", [0.5])
    run.session(60.0, ended="")
    with (run.folder / EVENTS).open("a", encoding="utf-8") as file:
        file.write('{"time": "2030-01-01T00:00:00+00:00", "event": "repor')
    assert run.status().events[-1].kind == "ended"


def test_to_look_changes_nothing(begin: Callable[[], Run]) -> None:
    run = begin()
    with run.searching():
        run.trial("RUNNING", [0.5])
        before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
        invoke(run.folder)
        assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_a_watched_run_is_shown_until_it_is_over(
    begin: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    with run.searching() as process:

        def end(seconds: float) -> None:
            process.kill()
            process.wait()

        monkeypatch.setattr(time, "sleep", end)
        lines = invoke(run.folder, "--watch", 1, "--json").splitlines()
    assert [json.loads(line)["life"]["state"] for line in lines] == ["running", "killed"]


def test_a_watched_run_that_is_over_is_shown_once(begin: Callable[[], Run]) -> None:
    run = begin()
    run.session(60.0, ended="")
    assert invoke(run.folder, "--watch", 60).count("finished") == 1


def test_ctrl_c_ends_watching_with_130(
    begin: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    run = begin()
    monkeypatch.setattr(time, "sleep", interrupted)
    with run.searching():
        result = CliRunner().invoke(status.app, [str(run.folder), "--watch", "1"])
    assert result.exit_code == 130


def test_watching_waits_for_a_search_that_loads_its_data(
    begin: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    hidden = run.folder.parent / STUDY
    (run.folder / STUDY).rename(hidden)
    with run.held():
        with pytest.raises(OutputError, match="is being prepared"):
            read_snapshot(run.folder)
        monkeypatch.setattr(time, "sleep", lambda _: hidden.rename(run.folder / STUDY))
        status._wait_for_study(run.folder, 1.0)
    assert (run.folder / STUDY).exists()


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_of_a_damaged_study_the_rest_is_shown_with_what_is_wrong(
    begin: Callable[[], Run], arguments: list[str]
) -> None:
    run = begin()
    run.events.write("session_started", trials_to_go=6)
    run.study.set_user_attr("session.0001", {"seconds": "x"})
    result = CliRunner().invoke(status.app, [str(run.folder), *arguments])
    assert "trials_to_go" in result.output or "6 trials to go" in result.output
    assert isinstance(result.exception, OutputError)
    assert "`session.0001" in str(result.exception)


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--watch", "1"]])
def test_a_folder_without_a_run_is_refused_in_words(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "other.txt").write_text("something else")
    error = CliRunner().invoke(status.app, [str(tmp_path), *arguments]).exception
    assert isinstance(error, OutputError)
    assert "holds no run: there is no run.json in it" in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_a_run_without_a_study_is_refused_in_words(begin: Callable[[], Run]) -> None:
    run = begin()
    (run.folder / STUDY).unlink()
    with pytest.raises(OutputError, match=r"there is no study\.db in it"):
        run.status()


def test_what_came_in_from_an_earlier_run_is_not_this_one_s(begin: Callable[[], Run]) -> None:
    run = begin()
    run.trial("COMPLETE", [0.3, 0.6, 0.5])
    values = {1: 0.9, 2: 0.9, 3: 0.9}
    attributes = {WARM_START: "/runs/old#7"}
    prior = create_trial(value=0.9, intermediate_values=values, user_attrs=attributes)
    run.study.add_trial(prior)
    run.session(60.0, ended="")
    found = run.status()
    assert (found.progress.finished, found.progress.complete, found.progress.to_come) == (1, 1, 5)
    assert found.best is not None
    assert found.best.objective == 0.6
