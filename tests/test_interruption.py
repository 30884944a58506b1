from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator

import pytest

from quantum_rerank.interruption import SIGNALS, Interrupted, Interruption, hangups_blocked

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def no_hangup_is_ignored() -> Iterator[None]:
    """The tests themselves may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def ask_to_end(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def wait() -> None:
    """Be at work in Python, where an interruption arrives."""
    until = time.monotonic() + 60.0
    while time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts_and_has_its_exit_code(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(Interrupted) as caught, Interruption().listening():
        ask_to_end(number)
        wait()
    assert caught.value.exit_code == CODES[number]
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_the_handlers_are_restored_without_a_signal_too() -> None:
    before, hook = [signal.getsignal(one) for one in SIGNALS], sys.unraisablehook
    with Interruption().listening() as interruption:
        assert interruption.heard is None
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert sys.unraisablehook is hook


class Thing:
    """What a weak reference can be made to."""


def test_an_interruption_lost_in_a_callback_is_raised_again() -> None:
    thing = Thing()
    reference = weakref.ref(thing, lambda _: (ask_to_end(), time.sleep(0.01)))
    with pytest.raises(Interrupted), Interruption().listening():
        del thing
        wait()
    assert reference() is None


def test_an_interruption_caught_by_a_library_is_raised_at_the_next_check() -> None:
    with pytest.raises(Interrupted), Interruption().listening() as interruption:
        try:
            ask_to_end()
            wait()
        except BaseException:
            pass
        interruption.check()
        pytest.fail("the check did not raise")


def test_an_interruption_that_became_another_error_is_raised_as_an_interruption() -> None:
    with pytest.raises(Interrupted), Interruption().listening():
        try:
            ask_to_end()
            wait()
        except KeyboardInterrupt:
            raise SystemError("returned a result with an exception set") from None


def test_a_held_block_runs_to_its_end_before_the_first_signal_interrupts() -> None:
    steps: list[str] = []
    interruption = Interruption(announce=steps.append)
    with pytest.raises(Interrupted), interruption.listening():
        with interruption.held():
            ask_to_end(signal.SIGTERM)
            time.sleep(0.01)
            steps.append("held")
        steps.append("after")
    assert steps == ["SIGTERM", "held"]


def test_a_second_signal_interrupts_a_held_block_at_once() -> None:
    steps = []
    with (
        pytest.raises(Interrupted) as caught,
        Interruption().listening() as interruption,
        interruption.held(),
    ):
        ask_to_end(signal.SIGTERM)
        time.sleep(0.01)
        ask_to_end()
        wait()
        steps.append("held")
    assert steps == []
    assert caught.value.signal == signal.SIGTERM


def test_a_second_hangup_does_not_interrupt_a_held_block() -> None:
    steps: list[str] = []
    interruption = Interruption(announce=steps.append)
    with pytest.raises(Interrupted), interruption.listening(), interruption.held():
        for _ in range(2):
            ask_to_end(signal.SIGHUP)
            time.sleep(0.01)
        steps.append("held")
    assert steps == ["SIGHUP", "held"]


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruption().listening() as interruption:
        ask_to_end(signal.SIGHUP)
        time.sleep(0.01)
        assert interruption.heard is None


def test_processes_started_with_hangups_blocked_outlive_the_terminal() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    with hangups_blocked():
        stderr = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert stderr.stdout == b"alive\n"
