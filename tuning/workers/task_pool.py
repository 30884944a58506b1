"""Ray workers that run calls one after another, and may be killed though they hang."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tuning.limits.deadlines import TimeLimits
from tuning.limits.memory import TrialMemory, kill_descendants
from tuning.limits.memory_watchdog import OUT_OF_MEMORY_EXIT_CODE, MemoryWatchdog
from tuning.records import Clock

Key = TypeVar("Key")
_LOST = "its worker was lost, and lost again in a second attempt"
_START_SECONDS = 300.0  # that a worker on this machine has to start, which is not the call's time


class CallWorker:
    """Actor that runs one call at a time, and tells meanwhile how many epochs it has ended.

    Args:
        memory_bytes: Memory of a call; the process ends itself above it.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._n_epochs = 0

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(*arguments, watch)`."""
        with MemoryWatchdog(self._memory_bytes, TrialMemory(), _end_this_process):
            return function(*arguments, self._count)

    def n_epochs(self) -> int:
        """Return the number of epochs that have ended in this process."""
        return self._n_epochs

    def _count(self, _: object) -> None:
        self._n_epochs += 1


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
        actor: The worker.
        call: The call.
        result: Reference of the result.
        answer: Reference of the requested number of epochs.
        started: When the call began.
        reported: When an epoch ended last.
        is_up: False until the worker has answered; the time of its call has not begun.
        n_epochs: Epochs that it had ended when it answered last.
    """

    actor: Any
    call: _Call[Key]
    result: Any
    answer: Any
    started: float
    reported: float
    is_up: bool = False
    n_epochs: int = 0


@dataclass
class TaskPool(Generic[Key]):
    """Pool of workers for calls of one function.

    Attributes:
        function: Called as `function(*arguments, shared, watch)`.
        shared: Reference of the argument that all calls share.
        options: Resources of a worker.
        memory_bytes: Memory of a call.
        limits: Time of a call, and of its epochs.
        clock: Seconds.
        waits_for_nodes: Whether a worker may wait for its resources, as on a cluster.
    """

    function: Callable[..., Any]
    shared: Any
    options: Mapping[str, Any]
    memory_bytes: int
    limits: TimeLimits
    clock: Clock
    waits_for_nodes: bool
    _calls: deque[_Call[Key]] = field(default_factory=deque)
    _busy: list[_Busy[Key]] = field(default_factory=list)

    def start(self, arguments: Mapping[Key, Sequence[Any]], n_workers: int) -> None:
        """Queue calls, and start as many workers as there are calls, but at most `n_workers`."""
        self._calls.extend(_Call(key, values) for key, values in arguments.items())
        for _ in range(min(n_workers, len(self._calls))):
            self._begin(self._new_worker(), self._calls.popleft())

    @property
    def is_busy(self) -> bool:
        """True while a call has not ended."""
        return bool(self._busy)

    def ended(self, seconds: float) -> Iterator[tuple[Key, Any, str]]:
        """Wait for calls to end.

        Args:
            seconds: Longest wait.

        Yields:
            Key, result and reason of a failure, or nothing, of each call that has ended.
        """
        import ray

        finished, _ = ray.wait([busy.result for busy in self._busy], timeout=seconds)
        for busy in [busy for busy in self._busy if busy.result in finished]:
            self._busy.remove(busy)
            yield from self._outcome(busy)
        self._read_answers()
        for busy in list(self._busy):
            if reason := self._overdue(busy):
                self._busy.remove(busy)
                self._replace(busy)
                yield busy.call.key, None, reason

    def close(self) -> None:
        """Kill all workers, with what they run."""
        import ray

        for busy in self._busy:
            ray.kill(busy.actor)
        self._busy.clear()
        self._calls.clear()

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
        import ray
        from ray.exceptions import RayActorError

        try:
            value = ray.get(busy.result)
        except RayActorError:
            if busy.call.n_attempts == 1:
                self._begin(self._new_worker(), busy.call)
                return
            self._replace(busy)
            yield busy.call.key, None, _LOST
        except Exception as error:  # of any kind: the search continues without it
            self._go_on(busy.actor)
            reason = (str(error).splitlines() or [type(error).__name__])[-1]
            yield busy.call.key, None, reason
        else:
            self._go_on(busy.actor)
            yield busy.call.key, value, ""

    def _go_on(self, actor: Any) -> None:
        """Give a worker its next call, or end it."""
        import ray

        if call := self._next_call():
            self._begin(actor, call)
        else:
            ray.kill(actor)

    def _replace(self, busy: _Busy[Key]) -> None:
        """Kill a worker, and start another if there is a call for it."""
        import ray

        ray.kill(busy.actor)
        if self._calls:
            self._begin(self._new_worker(), self._calls.popleft())

    def _next_call(self) -> _Call[Key] | None:
        """Return the next call; on a cluster also one whose worker waits for its resources."""
        import ray

        if self._calls:
            return self._calls.popleft()
        for busy in self._busy if self.waits_for_nodes else ():
            if not busy.is_up:
                ray.kill(busy.actor)
                self._busy.remove(busy)
                return busy.call
        return None

    def _new_worker(self) -> Any:
        import ray

        actor = ray.remote(CallWorker).options(max_concurrency=2, **self.options)
        return actor.remote(self.memory_bytes)

    def _begin(self, actor: Any, call: _Call[Key]) -> None:
        now = self.clock()
        call.n_attempts += 1
        result = actor.run.remote(self.function, *call.arguments, self.shared)
        self._busy.append(_Busy(actor, call, result, actor.n_epochs.remote(), now, now))

    def _read_answers(self) -> None:
        """Note which workers have ended an epoch since they were asked last."""
        import ray
        from ray.exceptions import RayActorError

        answers = [busy.answer for busy in self._busy]
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=0) if answers else ([], [])
        for busy in self._busy:
            if busy.answer not in ready:
                continue
            try:
                n_epochs = ray.get(busy.answer)
            except RayActorError:  # its result tells the same
                continue
            if not busy.is_up:
                busy.is_up, busy.started = True, self.clock()
                busy.reported = busy.started
            if n_epochs > busy.n_epochs:
                busy.n_epochs, busy.reported = n_epochs, self.clock()
            busy.answer = busy.actor.n_epochs.remote()


def _end_this_process(used: int) -> None:
    kill_descendants(os.getpid())
    os._exit(OUT_OF_MEMORY_EXIT_CODE)
