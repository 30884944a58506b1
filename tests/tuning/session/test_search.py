"""What of a session needs no cluster; whole ones are in tests/integration."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from quantum_rerank.config import DataConfig
from quantum_rerank.errors import DataError, SearchError
from quantum_rerank.interruption import Interrupted
from quantum_rerank.training.trial_data import PreparedData
from tuning.conclusion.conclude import Conclusion
from tuning.conclusion.outcome import Outcome
from tuning.limits.concurrency import Node
from tuning.limits.stop_signal import StopSignal
from tuning.records import StopKind, StopReason
from tuning.reporting.live_forecast import LiveForecast
from tuning.reporting.progress import ProgressDisplay
from tuning.reporting.summary import summarise
from tuning.session.ending import signals_conclude, signals_end
from tuning.session.search import search
from tuning.session.search_state import SearchOptions
from tuning.space import Budget, Header, Space
from tuning.study.run_folder import LOG, RECORD, SUMMARY, read_record
from tuning.study.storage import STUDY
from tuning.study.view import StudyView

SIGNALS = {
    signal.SIGINT: StopReason(StopKind.INTERRUPT),
    signal.SIGTERM: StopReason(StopKind.TERMINATED),
}


@pytest.fixture
def display() -> ProgressDisplay:
    still = lambda: 0.0  # noqa: E731
    budget = Budget(trials=4, epochs=3, hours=2.0)
    header = Header(name="small", base="base.yaml", budget=budget)
    forecast = LiveForecast(header, lambda: StudyView([]), still, still, still)
    return ProgressDisplay(Console(file=StringIO()), forecast)


@pytest.fixture
def no_hangup_is_ignored() -> Iterator[None]:
    """The tests themselves may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def stop_signal() -> StopSignal:
    return StopSignal([], lambda: 0.0)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_signal_ends_in_order_the_second_at_once_and_the_third_here_and_now(
    stop_signal: StopSignal, display: ProgressDisplay, first: signal.Signals, second: signal.Signals
) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with signals_end(stop_signal, display):
        os.kill(os.getpid(), first)
        assert (stop_signal(), stop_signal.is_at_once) == (SIGNALS[first], False)
        os.kill(os.getpid(), second)
        assert (stop_signal(), stop_signal.is_at_once) == (SIGNALS[first], True)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), first)
    assert (stop_signal(), stop_signal.is_at_once) == (SIGNALS[first], True)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_terminal_that_closes_ends_in_order_however_often_it_is_told(
    stop_signal: StopSignal, display: ProgressDisplay, no_hangup_is_ignored: None
) -> None:
    with signals_end(stop_signal, display):
        for _ in range(4):  # the terminal sends one, and its shell another
            os.kill(os.getpid(), signal.SIGHUP)
        assert (stop_signal(), stop_signal.is_at_once) == (StopReason(StopKind.HANGUP), False)


def test_a_search_under_nohup_does_not_hear_its_terminal_close(
    stop_signal: StopSignal, display: ProgressDisplay, no_hangup_is_ignored: None
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals_end(stop_signal, display):
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop_signal() is None


def test_without_a_signal_the_handlers_are_put_back_too(
    stop_signal: StopSignal, display: ProgressDisplay
) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with signals_end(stop_signal, display):
        assert all(signal.getsignal(n) is not b for n, b in zip(SIGNALS, before, strict=True))
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert stop_signal() is None


def test_once_the_trials_are_over_the_second_signal_stops_here_and_now(
    stop_signal: StopSignal, display: ProgressDisplay
) -> None:
    with signals_conclude(stop_signal, display):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_signal() == SIGNALS[signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert stop_signal() == SIGNALS[signal.SIGTERM]


@pytest.fixture
def space(tiny_space: Space, data_config: DataConfig) -> Space:
    """The tiny space over the data of `prepared`."""
    base = tiny_space.base.model_copy(update={"data": data_config})
    return replace(tiny_space, base=base)


def start(space: Space, folder: Path) -> StopReason | None:
    folder.mkdir(exist_ok=True)
    return search(space, folder, Console(file=StringIO()))


def test_a_study_that_cannot_be_opened_stops_a_search_with_the_way_to_go_on(
    space: Space, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    (folder / STUDY).mkdir(parents=True)
    with pytest.raises(SearchError, match="Is a directory") as caught:
        start(space, folder)
    assert f"`python -m tuning.search --resume {folder}`" in str(caught.value)
    assert "Traceback" in (folder / LOG).read_text()
    assert caught.value.exit_code == 1


def test_a_run_is_written_down_before_its_study_is_opened(
    space: Space, prepared: PreparedData, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    (folder / STUDY).mkdir(parents=True)
    with pytest.raises(SearchError):
        start(space, folder)
    assert read_record(folder)["data_fingerprint"] == prepared.fingerprint


def test_a_run_is_not_continued_on_other_data(space: Space, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / STUDY).mkdir(parents=True)
    with pytest.raises(SearchError):
        start(space, folder)
    begun = read_record(folder)
    for key, what in (("data_fingerprint", "data"), ("encoder_fingerprint", "vectors of the data")):
        record = begun | {key: "another"}
        (folder / RECORD).write_text(json.dumps(record))
        with pytest.raises(DataError, match=f"The {what} have changed since `{folder}` was"):
            start(space, folder)
        assert read_record(folder) == record


@contextmanager
def no_cluster(address: str | None) -> Iterator[list[Node]]:
    """A machine without Ray, of which one thing stays: its own answer to SIGTERM."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield [Node(2, 16.0)]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", ["conclude", "summarise"])
def test_a_signal_after_the_trials_leaves_a_run_that_was_concluded(
    space: Space,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    moment: str,
) -> None:
    run = Conclusion.run

    def concluded(self: Conclusion) -> Outcome:
        if moment == "conclude":
            os.kill(os.getpid(), number)
        return run(self)

    def summarised(*arguments: Any) -> dict[str, Any]:
        if moment == "summarise":
            os.kill(os.getpid(), number)
        return summarise(*arguments)

    monkeypatch.setattr("tuning.session.search.ray_cluster", no_cluster)
    monkeypatch.setattr("tuning.session.search.run_trials", lambda *_: None)
    monkeypatch.setattr(Conclusion, "run", concluded)
    monkeypatch.setattr("tuning.session.search.summarise", summarised)
    ended = start(space, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / SUMMARY).read_text())
    nothing = "a lack of trained trials: no trial was started"
    expected = str(SIGNALS[number]) if moment == "conclude" else nothing
    assert summary["ended_early"] == str(ended) == expected


def test_a_summary_that_cannot_be_written_leaves_the_one_before_it(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.session.search.ray_cluster", no_cluster)
    monkeypatch.setattr("tuning.session.search.run_trials", lambda *_: None)
    folder = tmp_path / "run"
    start(space, folder)
    before = (folder / SUMMARY).read_text()
    (folder / f".{SUMMARY}").mkdir()  # stands where the new one would be written
    with pytest.raises(SearchError, match="--resume"):
        start(space, folder)
    assert (folder / SUMMARY).read_text() == before


def test_an_error_of_any_kind_that_ends_a_session_is_in_its_log(
    space: Space, tmp_path: Path
) -> None:
    def broken() -> float:
        raise RuntimeError("a library failed")

    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(RuntimeError):
        search(space, folder, Console(file=StringIO()), SearchOptions(clock=broken))
    log = (folder / LOG).read_text()
    assert "Traceback" in log
    assert "RuntimeError: a library failed" in log


def test_what_interrupted_a_session_is_in_its_log(space: Space, tmp_path: Path) -> None:
    def interrupted() -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.0

    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(Interrupted) as caught:
        search(space, folder, Console(file=StringIO()), SearchOptions(clock=interrupted))
    assert caught.value.exit_code == 143
    assert "interrupted by SIGTERM" in (folder / LOG).read_text()
    assert read_record(folder)
