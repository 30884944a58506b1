"""Ray actors that run calls, and end themselves above their memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.limits.memory import TrialMemory, kill_descendants
from tuning.limits.memory_watchdog import OUT_OF_MEMORY_EXIT_CODE, MemoryWatchdog
from tuning.workers.task_pool import Worker, WorkerLost


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


class RayWorker(Worker):
    """Handle of an actor.

    Args:
        actor: The actor.
        function: Called as `function(*arguments, shared, watch)`.
        shared: Reference of the argument that all calls share.
    """

    def __init__(self, actor: Any, function: Callable[..., Any], shared: Any) -> None:
        self._actor, self._function, self._shared = actor, function, shared
        self.result: Any = None  # reference of the result of the call
        self._answer: Any = None  # reference of the requested number of epochs

    def begin(self, arguments: Sequence[Any]) -> None:
        """Begin a call."""
        self.result = self._actor.run.remote(self._function, *arguments, self._shared)
        self._answer = self._actor.n_epochs.remote()

    def n_epochs(self) -> int | None:
        """Return the epochs that have ended in this process, or None while it does not answer."""
        import ray
        from ray.exceptions import RayActorError

        if not ray.wait([self._answer], timeout=0)[0]:
            return None
        try:
            n_epochs: int = ray.get(self._answer)
        except RayActorError:  # its result tells the same
            return None
        self._answer = self._actor.n_epochs.remote()
        return n_epochs

    def outcome(self) -> Any:
        """Return the result of the call, which has ended.

        Raises:
            WorkerLost: The process ended before the call.
            Exception: What the call raised.
        """
        import ray
        from ray.exceptions import RayActorError

        try:
            return ray.get(self.result)
        except RayActorError:
            raise WorkerLost from None

    def kill(self) -> None:
        """End the process, with what it runs."""
        import ray

        ray.kill(self._actor)


@dataclass(frozen=True)
class RayWorkers:
    """Source of actors.

    Attributes:
        function: Called as `function(*arguments, shared, watch)`.
        shared: Reference of the argument that all calls share.
        options: Resources of a worker.
        memory_bytes: Memory of a call.
    """

    function: Callable[..., Any]
    shared: Any
    options: Mapping[str, Any]
    memory_bytes: int

    def start(self) -> Worker:
        """Start a worker, and return it before it is up."""
        import ray

        actor = ray.remote(CallWorker).options(max_concurrency=2, **self.options)
        return RayWorker(actor.remote(self.memory_bytes), self.function, self.shared)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        """Return the workers whose calls have ended, at the latest after `seconds`."""
        import ray

        results = {worker.result: worker for worker in workers if isinstance(worker, RayWorker)}
        finished, _ = ray.wait(list(results), timeout=seconds)
        return [results[result] for result in finished]


def _end_this_process(used: int) -> None:
    kill_descendants(os.getpid())
    os._exit(OUT_OF_MEMORY_EXIT_CODE)
