"""Trainings outside of Ray Tune, side by side on the cluster, under the same memory budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from tuning.limits.concurrency import GIB, Concurrency
from tuning.limits.memory import TrialMemory, kill_descendants
from tuning.limits.memory_watchdog import MemoryWatchdog
from tuning.limits.stop_signal import StopSignal

Key = TypeVar("Key")
_FAILED_EXIT_CODE = 137


@dataclass(frozen=True)
class Tasks:
    """Runner of functions on the cluster, as many at once as trials.

    Each call gets a core and the memory of a trial.

    Attributes:
        shared: Last argument of every call, sent to each node once.
        concurrency: Trials at once, and the memory of each.
        stop_signal: Signal that ends the search.
        on_tick: Called about twice a second while something runs.
    """

    shared: Any
    concurrency: Concurrency
    stop_signal: StopSignal
    on_tick: Callable[[], None]

    def finished(
        self,
        function: Callable[..., Any],
        arguments: Mapping[Key, Sequence[Any]],
        failed: Callable[[Key, str], None],
    ) -> Iterator[tuple[Key, Any]]:
        """Call `function(*arguments, shared)` for every key, and yield results as they come.

        A call whose worker was lost is made once more. Once the search ends, running calls are
        ended.

        Args:
            function: Function to call.
            arguments: Key -> arguments of its call.
            failed: Called with the key and the reason of a call that failed.

        Yields:
            Key and result of a call.
        """
        if not arguments:
            return  # or the shared argument would be sent to every node for nothing
        import ray

        task = self._remote(function)
        shared = ray.put(self.shared)
        # On a cluster Ray's resources decide how many run at once, as with trials.
        at_once = len(arguments) if self.concurrency.is_spread else self.concurrency.trials
        to_start = iter(arguments.items())
        waiting: dict[Any, Key] = {}

        def start(number: int) -> None:
            for key, call_arguments in islice(to_start, number):
                waiting[task.remote(*call_arguments, shared)] = key

        start(at_once)
        try:
            while waiting and not self.stop_signal():
                self.on_tick()
                for result in ray.wait(list(waiting), timeout=0.5)[0]:
                    key = waiting.pop(result)
                    start(1)
                    try:
                        value = ray.get(result)
                    except Exception as error:  # of any kind: the search goes on without it
                        failed(key, (str(error).splitlines() or [type(error).__name__])[-1])
                        continue
                    yield key, value
        finally:
            for result in waiting:
                ray.cancel(result, force=True)

    def _remote(self, function: Callable[..., Any]) -> Any:
        """Return a function as Ray's task, under a memory watchdog."""
        import ray

        limit = int(self.concurrency.trial_memory_gb * GIB)

        def within_memory(*arguments: Any) -> Any:
            with MemoryWatchdog(limit, TrialMemory(), _end_this_process):
                return function(*arguments)

        options = {"num_cpus": 1, "max_retries": 1, **self.concurrency.reservation}
        return ray.remote(**options)(within_memory)


def _end_this_process(used: int) -> None:
    kill_descendants(os.getpid())
    os._exit(_FAILED_EXIT_CODE)
