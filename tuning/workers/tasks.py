"""Trainings outside of Ray Tune, side by side on the cluster, under the same memory budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tuning.limits.concurrency import GIB, Concurrency
from tuning.limits.deadlines import TimeLimits
from tuning.limits.stop_signal import StopSignal
from tuning.records import Clock
from tuning.study.warm_ups import SharedWarmUps
from tuning.workers.call_worker import RayWorkers
from tuning.workers.task_pool import TaskPool

Key = TypeVar("Key")


@dataclass(frozen=True)
class Tasks:
    """Runner of functions on the cluster, as many at once as trials.

    Each call gets a core and the memory of a trial.

    Attributes:
        shared: Last argument of every call, sent to each node once.
        concurrency: Trials at once, and the memory of each.
        stop_signal: Signal that ends the search.
        on_tick: Called about twice a second while something runs.
        limits: Time of a call, and of its epochs.
        clock: Seconds.
        warm_ups: Warm-ups that trainings share with the trials.
    """

    shared: Any
    concurrency: Concurrency
    stop_signal: StopSignal
    on_tick: Callable[[], None]
    limits: TimeLimits = field(default_factory=TimeLimits)
    clock: Clock = time.monotonic
    warm_ups: SharedWarmUps | None = None

    def finished(
        self,
        function: Callable[..., Any],
        arguments: Mapping[Key, Sequence[Any]],
        failed: Callable[[Key, str], None],
    ) -> Iterator[tuple[Key, Any]]:
        """Call `function(*arguments, shared, watch)` for every key; yield results as they come.

        A call whose worker was lost is made once more. A call that exceeds its time fails, and its
        worker is killed. Once the search ends, running calls are ended.

        Args:
            function: Function to call; it calls `watch` with the report of every epoch.
            arguments: Key -> arguments of its call.
            failed: Called with the key and the reason of a call that failed.

        Yields:
            Key and result of a call.
        """
        if not arguments:
            return  # or the shared argument would be sent to every node for nothing
        import ray

        workers = RayWorkers(
            function,
            ray.put(self.shared),
            {"num_cpus": 1, **self.concurrency.reservation},
            int(self.concurrency.trial_memory_gb * GIB),
        )
        pool: TaskPool[Key] = TaskPool(
            workers, self.limits, self.clock, waits_for_nodes=self.concurrency.is_spread
        )
        # On a cluster Ray's resources decide how many run at once, as with trials.
        at_once = len(arguments) if self.concurrency.is_spread else self.concurrency.trials
        try:
            pool.start(arguments, at_once)
            while pool.is_busy and not self.stop_signal():
                self.on_tick()
                for key, value, reason in pool.ended(0.5):
                    if reason:
                        failed(key, reason)
                    else:
                        yield key, value
        finally:
            pool.close()
