"""Trainings outside of Ray Tune, side by side on the cluster, under the same memory budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from tuning.limits.concurrency import GB, Concurrency
from tuning.limits.memory import TrialMemory, kill_descendants
from tuning.limits.memory_watchdog import MemoryWatchdog
from tuning.limits.stop_signal import StopSignal

Key = TypeVar("Key")
_FAILED_EXIT_CODE = 137


@dataclass(frozen=True)
class Tasks:
    """Runs functions side by side on the cluster, a core and a trial's memory each.

    As many at once as trials would be.

    shared: what every call gets as its last argument, sent to each node once.
    on_tick: called about twice a second while something runs.
    """

    shared: Any
    concurrency: Concurrency
    ending: StopSignal
    on_tick: Callable[[], None]

    def finished(
        self,
        function: Callable[..., Any],
        arguments: Mapping[Key, Sequence[Any]],
        failed: Callable[[Key, str], None],
    ) -> Iterator[tuple[Key, Any]]:
        """Call `function(*arguments, shared)` for every key; results as they come.

        What fails is told to `failed` and left out. A call whose worker was lost is made once
        more. Once the search is over, what still runs is ended.
        """
        if not arguments:
            return  # what all share is not sent around for nobody
        import ray

        limit = int(self.concurrency.trial_memory_gb * GB)

        def within_memory(*given: Any) -> Any:
            with MemoryWatchdog(limit, TrialMemory(), _end_this_process):
                return function(*given)

        options = {"num_cpus": 1, "max_retries": 1, **self.concurrency.reservation}
        task = ray.remote(**options)(within_memory)
        data = ray.put(self.shared)
        # On a cluster Ray's resources decide how many run at once, as with trials.
        at_once = len(arguments) if self.concurrency.spread else self.concurrency.trials
        to_start = iter(arguments.items())
        waiting: dict[Any, Key] = {}

        def start(number: int) -> None:
            for key, given in islice(to_start, number):
                waiting[task.remote(*given, data)] = key

        start(at_once)
        try:
            while waiting and not self.ending():
                self.on_tick()
                for result in ray.wait(list(waiting), timeout=0.5)[0]:
                    key = waiting.pop(result)
                    start(1)
                    try:
                        value = ray.get(result)
                    except Exception as error:  # whatever it was, it is not the search's fault
                        failed(key, (str(error).splitlines() or [type(error).__name__])[-1])
                        continue
                    yield key, value
        finally:
            for result in waiting:
                ray.cancel(result, force=True)


def _end_this_process(used: int) -> None:
    kill_descendants(os.getpid())
    os._exit(_FAILED_EXIT_CODE)
