"""Pool of workers that run calls one after another, and may be killed though they hang."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from tuning.limits.deadlines import TimeLimits
from tuning.records import Clock

Key = TypeVar("Key")
_LOST = "its worker was lost, and lost again in a second attempt"
_START_SECONDS = 300.0  # that a worker on this machine has to start, which is not the call's time


class WorkerLost(Exception):
    """Worker that ended before its call."""


class Worker(Protocol):
    """Process that runs one call at a time."""

    def begin(self, arguments: Sequence[Any]) -> None:
        """Begin a call."""

    def n_epochs(self) -> int | None:
        """Return the epochs that have ended in this process, or None while it does not answer."""

    def outcome(self) -> Any:
        """Return the result of the call, which has ended.

        Raises:
            WorkerLost: The process ended before the call.
            Exception: What the call raised.
        """

    def kill(self) -> None:
        """End the process, with what it runs."""


class Workers(Protocol):
    """Source of workers."""

    def start(self) -> Worker:
        """Start a worker, and return it before it is up."""

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        """Return the workers whose calls have ended, at the latest after `seconds`."""


@dataclass
class _Call(Generic[Key]):
    """A call that has not ended.

    Attributes:
        key: Its key.
        arguments: Its arguments.
        n_attempts: Attempts that have begun.
    """

    key: Key
    arguments: Sequence[Any]
    n_attempts: int = 0


@dataclass
class _Busy(Generic[Key]):
    """A worker with its call.

    Attributes:
        worker: The worker.
        call: The call.
        started: When the call began.
        reported: When an epoch ended last.
        is_up: False until the worker has answered; the time of its call has not begun.
        n_epochs: Epochs that it had ended when it answered last.
    """

    worker: Worker
    call: _Call[Key]
    started: float
    reported: float
    is_up: bool = False
    n_epochs: int = 0


@dataclass
class TaskPool(Generic[Key]):
    """Pool of workers for calls.

    Attributes:
        workers: Source of the workers.
        limits: Time of a call, and of its epochs.
        clock: Seconds.
        waits_for_nodes: Whether a worker may wait for its resources, as on a cluster.
    """

    workers: Workers
    limits: TimeLimits
    clock: Clock
    waits_for_nodes: bool = False
    _calls: deque[_Call[Key]] = field(default_factory=deque)
    _busy: list[_Busy[Key]] = field(default_factory=list)
    _ended_seconds: float = 0.0

    def start(self, arguments: Mapping[Key, Sequence[Any]], n_workers: int) -> None:
        """Queue calls, and start as many workers as there are calls, but at most `n_workers`."""
        self._calls.extend(_Call(key, values) for key, values in arguments.items())
        for _ in range(min(n_workers, len(self._calls))):
            self._begin(self.workers.start(), self._calls.popleft())

    @property
    def is_busy(self) -> bool:
        """True while a call has not ended."""
        return bool(self._busy)

    def running(self) -> dict[Key, float]:
        """Return the calls that run, with the seconds that each has run."""
        now = self.clock()
        return {busy.call.key: now - busy.started for busy in self._busy if busy.is_up}

    def core_seconds(self) -> float:
        """Return the seconds of all calls, lost attempts too, on a core each."""
        return self._ended_seconds + sum(self.running().values())

    def ended(self, seconds: float) -> Iterator[tuple[Key, Any, str]]:
        """Wait for calls to end.

        Args:
            seconds: Longest wait.

        Yields:
            Key, result and reason of a failure, or nothing, of each call that has ended.
        """
        finished = self.workers.wait([busy.worker for busy in self._busy], seconds)
        for busy in [busy for busy in self._busy if busy.worker in finished]:
            self._remove(busy)
            yield from self._outcome(busy)
        self._count_epochs()
        for busy in list(self._busy):
            if reason := self._overdue(busy):
                self._remove(busy)
                self._replace(busy)
                yield busy.call.key, None, reason

    def close(self) -> None:
        """Kill all workers, with what they run."""
        for busy in self._busy:
            busy.worker.kill()
        self._busy.clear()
        self._calls.clear()

    def _remove(self, busy: _Busy[Key]) -> None:
        self._busy.remove(busy)
        self._ended_seconds += self.clock() - busy.started

    def _overdue(self, busy: _Busy[Key]) -> str:
        """Return the reason for which a worker has to be killed, or nothing."""
        now = self.clock()
        if busy.is_up:
            return str(self.limits.exceeded(now - busy.started, now - busy.reported) or "")
        if self.waits_for_nodes or now - busy.started < _START_SECONDS:
            return ""
        return f"its worker did not start within {_START_SECONDS:g} s"

    def _outcome(self, busy: _Busy[Key]) -> Iterator[tuple[Key, Any, str]]:
        """Yield the outcome of a call; a call whose worker was lost is made once more."""
        try:
            value = busy.worker.outcome()
        except WorkerLost:
            if busy.call.n_attempts == 1:
                self._begin(self.workers.start(), busy.call)
                return
            self._replace(busy)
            yield busy.call.key, None, _LOST
        except Exception as error:  # of any kind: the search continues without it
            self._go_on(busy.worker)
            reason = (str(error).splitlines() or [type(error).__name__])[-1]
            yield busy.call.key, None, reason
        else:
            self._go_on(busy.worker)
            yield busy.call.key, value, ""

    def _go_on(self, worker: Worker) -> None:
        """Give a worker its next call, or end it."""
        if call := self._next_call():
            self._begin(worker, call)
        else:
            worker.kill()

    def _replace(self, busy: _Busy[Key]) -> None:
        """Kill a worker, and start another if there is a call for it."""
        busy.worker.kill()
        if self._calls:
            self._begin(self.workers.start(), self._calls.popleft())

    def _next_call(self) -> _Call[Key] | None:
        """Return the next call; on a cluster also one whose worker waits for its resources."""
        if self._calls:
            return self._calls.popleft()
        for busy in self._busy if self.waits_for_nodes else ():
            if not busy.is_up:
                busy.worker.kill()
                self._busy.remove(busy)
                return busy.call
        return None

    def _begin(self, worker: Worker, call: _Call[Key]) -> None:
        now = self.clock()
        call.n_attempts += 1
        worker.begin(call.arguments)
        self._busy.append(_Busy(worker, call, now, now))

    def _count_epochs(self) -> None:
        """Note which workers have ended an epoch since they answered last."""
        for busy in self._busy:
            n_epochs = busy.worker.n_epochs()
            if n_epochs is None:
                continue
            if not busy.is_up:
                busy.is_up, busy.started = True, self.clock()
                busy.reported = busy.started
            if n_epochs > busy.n_epochs:
                busy.n_epochs, busy.reported = n_epochs, self.clock()
