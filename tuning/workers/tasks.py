"""Trainings outside of Ray Tune, side by side on the cluster, under the same memory budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tuning.limits.budgets import GB, INTERRUPT, Ending, MemoryWatchdog
from tuning.limits.memory import TrialMemory, kill_descendants
from tuning.workers.cluster import cluster_nodes

Key = TypeVar("Key")
_FAILED_EXIT_CODE = 137


def finished(
    function: Callable[..., Any],
    arguments: Mapping[Key, Sequence[Any]],
    shared: Any,
    memory_gb: float,
    ending: Ending,
    failed: Callable[[Key, str], None],
) -> Iterator[tuple[Key, Any]]:
    """Call `function(*arguments, shared)` for every key on a core each; results as they come.

    What fails is told to `failed` and left out. Once the search is over, what still
    runs is ended.
    """
    import ray

    def within_memory(*given: Any) -> Any:
        with MemoryWatchdog(int(memory_gb * GB), TrialMemory(), _end_this_process):
            return function(*given)

    # What the largest node has, if that is less: more would wait for ever.
    largest = max((node.free_gb for node in cluster_nodes() if node.cpus), default=memory_gb)
    memory = int(min(memory_gb, largest) * GB)
    task = ray.remote(num_cpus=1, memory=memory, max_retries=0)(within_memory)
    data = ray.put(shared)
    waiting = {task.remote(*given, data): key for key, given in arguments.items()}
    try:
        while waiting and not ending():
            for result in ray.wait(list(waiting), timeout=0.5)[0]:
                key = waiting.pop(result)
                try:
                    value = ray.get(result)
                except Exception as error:  # whatever it was, it is not the search's fault
                    failed(key, (str(error).splitlines() or [type(error).__name__])[-1])
                    continue
                yield key, value
    except KeyboardInterrupt:
        ending.stop(INTERRUPT)
    finally:
        for result in waiting:
            ray.cancel(result, force=True)


def _end_this_process(used: int) -> None:
    kill_descendants(os.getpid())
    os._exit(_FAILED_EXIT_CODE)
