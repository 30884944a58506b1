from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import OutputError
from tests.tuning.reasons import failure
from tuning.records import EPOCH, OBJECTIVE, SECONDS, TrialEnd, TrialOutcome
from tuning.reporting.events import EventLog, read_events
from tuning.study import reading
from tuning.study.reading import read_file
from tuning.study.run_folder import EVENTS, open_study
from tuning.study.storage import STUDY


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study with an attribute and a running trial."""
    study = open_study(tmp_path, "tiny")
    study.set_user_attr("known", 1)
    study.ask().report(0.5, 1)
    study._storage.remove_session()
    return tmp_path / STUDY


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_study_is_read_with_its_attributes_and_nothing_is_written(study_file: Path) -> None:
    before = content(study_file.parent)
    attributes, trials = read_file(study_file)
    assert attributes == {"known": 1}
    assert [(t.state.name, t.intermediate_values) for t in trials] == [("RUNNING", {1: 0.5})]
    assert content(study_file.parent) == before


def test_a_folder_that_cannot_be_written_to_can_be_read(study_file: Path) -> None:
    study_file.chmod(0o444)
    study_file.parent.chmod(0o555)
    try:
        assert read_file(study_file)[0] == {"known": 1}
    finally:
        study_file.parent.chmod(0o755)


def test_what_is_not_committed_yet_is_not_seen(study_file: Path) -> None:
    with closing(sqlite3.connect(study_file)) as writer:
        writer.execute("DELETE FROM trials")
        assert len(read_file(study_file)[1]) == 1
        writer.commit()
    assert read_file(study_file)[1] == []


def test_a_study_that_stays_locked_is_refused_in_words(
    study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(study_file)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OutputError, match="is being written to"):
            read_file(study_file)


def test_a_writer_and_its_readers_do_not_fail_each_other(
    study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BUSY_SECONDS", 1800.0)  # however slow the disk is
    failed: list[Exception] = []

    def write() -> None:
        study = open_study(study_file.parent, "tiny")
        try:
            for number in range(30):
                study.set_user_attr("number", number)
        except Exception as error:
            failed.append(error)
        study._storage.remove_session()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while writer.is_alive():
        seen.append(read_file(study_file)[0].get("number", -1))
    writer.join()
    assert not failed
    assert seen == sorted(seen)
    assert read_file(study_file)[0]["number"] == 29


HALF_WRITTEN = """
import os, sqlite3, sys
writer = sqlite3.connect(sys.argv[1], isolation_level=None)
writer.execute("PRAGMA cache_size = 1")  # so that pages reach the disk before the commit
writer.execute("BEGIN IMMEDIATE")
writer.execute("DELETE FROM trials")
writer.execute("CREATE TABLE filler AS SELECT hex(randomblob(100000)) AS content")
os._exit(9)
"""


def test_what_a_killed_process_left_half_written_is_not_seen_and_not_undone(
    study_file: Path,
) -> None:
    subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(study_file)], check=False)
    before = content(study_file.parent)
    assert f"{STUDY}-journal" in before
    assert len(read_file(study_file)[1]) == 1
    assert content(study_file.parent) == before


def test_a_study_that_is_being_made_is_empty(tmp_path: Path) -> None:
    (tmp_path / STUDY).write_bytes(b"")
    assert read_file(tmp_path / STUDY) == ({}, [])


def test_a_damaged_study_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / STUDY).write_bytes(b"no database at all")
    with pytest.raises(OutputError, match=r"study\.db` is damaged: file is not a database"):
        read_file(tmp_path / STUDY)


def test_events_are_read_as_they_were_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / EVENTS)
    log.write("session_started", trials_to_go=2)
    log.trial_started(3, ExperimentConfig())
    log.trial_reported(3, 1, {OBJECTIVE: 0.5, SECONDS: 2.5})
    log.trial_ended(TrialEnd(3, TrialOutcome.FAILED, 1, None, failure("nan: the loss")))
    session, started, reported, ended = read_events(tmp_path / EVENTS)
    assert (session.kind, session.trial, session.facts) == (
        "session_started",
        None,
        {"trials_to_go": 2},
    )
    assert (started.kind, started.trial) == ("started", 3)
    assert started.facts["config"]["loss.name"] == "triplet"
    assert reported.facts == {EPOCH: 1, OBJECTIVE: 0.5, SECONDS: 2.5}
    assert ended.facts["reason"] == "nan: the loss"
    assert session.time <= started.time <= ended.time


@pytest.mark.parametrize(
    "damaged",
    ['{"time": "2030-01-', "", "7", "[1]", "null", '{"time": 3, "event": "ended"}', "\x00\x00"],
)
def test_a_damaged_line_is_passed_over(tmp_path: Path, damaged: str) -> None:
    EventLog(tmp_path / EVENTS).trial_ended(TrialEnd(0, TrialOutcome.PRUNED, 1, 0.5))
    whole = (tmp_path / EVENTS).read_text(encoding="utf-8")
    (tmp_path / EVENTS).write_text(f"{damaged}\n{whole}{damaged}", encoding="utf-8")
    assert [event.trial for event in read_events(tmp_path / EVENTS)] == [0]


def test_a_line_cut_within_a_letter_is_passed_over(tmp_path: Path) -> None:
    line = json.dumps({"time": "2030-01-01T00:00:00+00:00", "event": "é"}, ensure_ascii=False)
    (tmp_path / EVENTS).write_bytes(line.encode()[: -len('"}') - 1])
    assert read_events(tmp_path / EVENTS) == []


def test_a_run_without_events_has_none(tmp_path: Path) -> None:
    assert read_events(tmp_path / EVENTS) == []
