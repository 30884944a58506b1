"""What of a session needs no cluster; whole ones are in tests/integration."""

from __future__ import annotations

import json
import os
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from quantum_rerank.config import override
from quantum_rerank.errors import DataError, SearchError
from quantum_rerank.training.data_manager import PreparedData
from tuning.ending import signals_end
from tuning.limits.budgets import INTERRUPT, TERMINATED, Ending, TimeBudget
from tuning.reporting.progress import ProgressDisplay
from tuning.session import search
from tuning.space import Space
from tuning.study.run_folder import LOG, RECORD, read_record
from tuning.study.storage import STUDY

SIGNALS = {signal.SIGINT: INTERRUPT, signal.SIGTERM: TERMINATED}


@pytest.fixture
def display() -> ProgressDisplay:
    budget = TimeBudget(2.0, lambda: 0.0)
    return ProgressDisplay(Console(file=StringIO()), 4, 3, budget, lambda: 0.0)


@pytest.fixture
def ending() -> Ending:
    return Ending([], lambda: 0.0)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_signal_ends_in_order_the_second_at_once_and_the_third_here_and_now(
    ending: Ending, display: ProgressDisplay, first: signal.Signals, second: signal.Signals
) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with signals_end(ending, display):
        os.kill(os.getpid(), first)
        assert (ending(), ending.is_at_once) == (SIGNALS[first], False)
        os.kill(os.getpid(), second)
        assert (ending(), ending.is_at_once) == (SIGNALS[first], True)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), first)
    assert (ending(), ending.is_at_once) == (SIGNALS[first], True)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_without_a_signal_the_handlers_are_put_back_too(
    ending: Ending, display: ProgressDisplay
) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with signals_end(ending, display):
        assert all(signal.getsignal(n) is not b for n, b in zip(SIGNALS, before, strict=True))
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert ending() == ""


@pytest.fixture
def space(tiny_space: Space, data_keys: dict[str, Any]) -> Space:
    """The tiny space over the data of `prepared`."""
    return Space(tiny_space.header, override(tiny_space.base, data_keys), tiny_space.parameters)


def start(space: Space, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    search(space, folder, Console(file=StringIO()), None, "disabled")


def test_a_study_that_cannot_be_opened_stops_a_search_with_the_way_to_go_on(
    space: Space, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    (folder / STUDY).mkdir(parents=True)
    with pytest.raises(SearchError, match="unable to open database file") as caught:
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
