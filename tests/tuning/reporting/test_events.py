from __future__ import annotations

import json
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import ExperimentConfig, flat
from tests.conftest import FullDisk
from tests.tuning.reasons import failure
from tuning.records import OBJECTIVE, SECONDS, TrialEnd, TrialOutcome
from tuning.reporting.events import EventLog, write_log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    """The events, each of a line of strict JSON, without their times."""
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    found = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    for event in found:
        del event["time"]
    return found


def test_every_event_is_a_line_in_its_order(path: Path) -> None:
    log, config = EventLog(path), ExperimentConfig()
    log.write("session_started", trials_to_go=4)
    log.trial_started(0, config)
    log.trial_reported(0, 1, {OBJECTIVE: 0.5, SECONDS: 2.5, "train_loss": 1.0})
    log.trial_ended(TrialEnd(0, TrialOutcome.PRUNED, 1, 0.5))
    assert lines(path) == [
        {"event": "session_started", "trials_to_go": 4},
        {"event": "started", "trial": 0, "config": flat(config)},
        {"event": "reported", "trial": 0, "epoch": 1, OBJECTIVE: 0.5, SECONDS: 2.5},
        {
            "event": "ended",
            "trial": 0,
            "state": "pruned",
            "epoch": 1,
            OBJECTIVE: 0.5,
            "reason": "",
        },
    ]


def test_an_event_is_on_disk_when_it_was_heard_and_later_sessions_append(path: Path) -> None:
    for session in range(3):
        EventLog(path).write("session_started", number=session)
        assert [event["number"] for event in lines(path)] == list(range(session + 1))


def test_a_line_that_a_kill_cut_off_does_not_take_the_next_one_with_it(path: Path) -> None:
    EventLog(path).write("session_started", number=0)
    path.write_bytes(path.read_bytes() + b'{"time": "2026-0')
    EventLog(path).write("session_started", number=1)
    cut_off, whole = path.read_text(encoding="utf-8").splitlines()[-2:]
    assert cut_off == '{"time": "2026-0'
    assert json.loads(whole)["number"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_left_out(path: Path, value: float) -> None:
    EventLog(path).trial_reported(0, 1, {OBJECTIVE: value})
    assert lines(path) == [{"event": "reported", "trial": 0, "epoch": 1}]


def test_a_failure_tells_its_reason_on_the_same_line(path: Path) -> None:
    reason = "error: ValueError: two\nlines, and „quotes“"
    EventLog(path).trial_ended(TrialEnd(3, TrialOutcome.FAILED, 0, None, failure(reason)))
    (event,) = lines(path)
    assert (event["reason"], event[OBJECTIVE]) == (reason, None)


def test_an_event_tells_when_it_was(path: Path) -> None:
    before = datetime.now(UTC)
    EventLog(path).write("session_ended")
    told = datetime.fromisoformat(json.loads(path.read_text())["time"])
    assert before - timedelta(milliseconds=1) < told <= datetime.now(UTC)


# The log.


def said_to(path: Path) -> list[str]:
    """What the log holds after each line's time."""
    return [line.split(" ", 2)[-1] for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_our_packages_log_is_appended_with_tracebacks(tmp_path: Path) -> None:
    path = tmp_path / "search.log"
    for number in range(2):
        with write_log(path):
            logging.getLogger("tuning").info("session %d", number)
            logging.getLogger("quantum_rerank.training").warning("careful")
            try:
                raise ValueError("no such thing")
            except ValueError:
                logging.getLogger("tuning").exception("failed")
    text = path.read_text()
    assert text.count("ValueError: no such thing") == text.count("Traceback") == 2
    said = [line for line in said_to(path) if line.startswith(("INFO", "WARNING", "ERROR"))]
    assert said == [
        "INFO tuning: session 0",
        "WARNING quantum_rerank.training: careful",
        "ERROR tuning: failed",
        "INFO tuning: session 1",
        "WARNING quantum_rerank.training: careful",
        "ERROR tuning: failed",
    ]


def test_after_a_session_nothing_is_logged_any_more(tmp_path: Path) -> None:
    path = tmp_path / "search.log"
    with pytest.raises(KeyboardInterrupt), write_log(path):
        raise KeyboardInterrupt
    logging.getLogger("tuning").error("too late")
    assert path.read_text() == ""


def test_others_do_not_log_into_a_run(tmp_path: Path) -> None:
    path = tmp_path / "search.log"
    with write_log(path):
        logging.getLogger("somebody").error("else")
    assert path.read_text() == ""


def test_a_log_on_a_full_disk_says_nothing_and_stops_nobody(
    tmp_path: Path, full_disk: FullDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    others = logging.FileHandler("/dev/full")
    with full_disk(0), write_log(tmp_path / "search.log"):
        logging.getLogger("tuning").error("something happened")
        others.handle(logging.makeLogRecord({"msg": "so it did"}))
    with suppress(OSError):
        others.close()
    assert capsys.readouterr().err == ""
