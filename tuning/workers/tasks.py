"""Trainings outside of Ray Tune, side by side on the cluster, under the same memory budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tuning.limits.concurrency import GIB, Concurrency
from tuning.limits.deadlines import TimeLimits
from tuning.limits.stop_signal import StopSignal
from tuning.records import Clock, TrainingsState
from tuning.study.warm_ups import SharedWarmUps
from tuning.workers.call_worker import RayWorkers
from tuning.workers.task_pool import TaskPool

Key = TypeVar("Key")
_LONGEST_SHARE = 0.95  # of its expected time that a training counts with before it has ended
_LEAST_SECONDS = 1e-9


@dataclass(frozen=True)
class Training:
    """Training to run.

    Attributes:
        arguments: Arguments of the call.
        seconds: Seconds that it is expected to take.
    """

    arguments: Sequence[Any]
    seconds: float


@dataclass(frozen=True)
class Tasks:
    """Runner of functions on the cluster, as many at once as trials.

    Each call gets a core and the memory of a trial.

    Attributes:
        shared: Last argument of every call, sent to each node once.
        concurrency: Trials at once, and the memory of each.
        stop_signal: Signal that ends the search.
        on_tick: Called about twice a second while something runs, and at the end.
        limits: Time of a call, and of its epochs.
        clock: Seconds.
        warm_ups: Warm-ups that trainings share with the trials.
    """

    shared: Any
    concurrency: Concurrency
    stop_signal: StopSignal
    on_tick: Callable[[TrainingsState], None]
    limits: TimeLimits = field(default_factory=TimeLimits)
    clock: Clock = time.monotonic
    warm_ups: SharedWarmUps | None = None

    def finished(
        self,
        purpose: str,
        function: Callable[..., Any],
        trainings: Mapping[Key, Training],
        failed: Callable[[Key, str], None],
    ) -> Iterator[tuple[Key, Any]]:
        """Call `function(*arguments, shared, watch)` for every key; yield results as they come.

        A call whose worker was lost is made once more. A call that exceeds its time fails, and its
        worker is killed. Once the search ends, running calls are ended.

        Args:
            purpose: Purpose of the trainings, as a heading.
            function: Function to call; it calls `watch` with the report of every epoch.
            trainings: Key -> arguments of its call, and the time that it is expected to take.
            failed: Called with the key and the reason of a call that failed.

        Yields:
            Key and result of a call.
        """
        if not trainings:
            return  # or the shared argument would be sent to every node for nothing
        pool: TaskPool[Key] = TaskPool(
            self._workers(function),
            self.limits,
            self.clock,
            waits_for_nodes=self.concurrency.is_spread,
        )
        started = self.clock()
        work = _Work(purpose, {key: training.seconds for key, training in trainings.items()})
        # On a cluster Ray's resources decide how many run at once, as with trials.
        at_once = len(trainings) if self.concurrency.is_spread else self.concurrency.trials
        try:
            pool.start({key: training.arguments for key, training in trainings.items()}, at_once)
            while pool.is_busy and not self.stop_signal():
                self.on_tick(work.state(pool, self.clock() - started))
                for key, value, reason in pool.ended(0.5):
                    work.ended.add(key)
                    if reason:
                        failed(key, reason)
                    else:
                        yield key, value
            self.on_tick(work.state(pool, self.clock() - started))
        finally:
            pool.close()

    def _workers(self, function: Callable[..., Any]) -> RayWorkers:
        import ray

        return RayWorkers(
            function,
            ray.put(self.shared),
            {"num_cpus": 1, **self.concurrency.reservation},
            int(self.concurrency.trial_memory_gb * GIB),
        )


@dataclass
class _Work(Generic[Key]):
    """Trainings of one purpose, and how far they are.

    Attributes:
        purpose: Purpose of the trainings.
        expected: Key -> seconds that the training is expected to take.
        ended: Keys of the trainings that have ended.
    """

    purpose: str
    expected: Mapping[Key, float]
    ended: set[Key] = field(default_factory=set)
    _reported: float = 0.0

    def state(self, pool: TaskPool[Key], seconds: float) -> TrainingsState:
        """Return the state of the trainings, with the core-seconds since the last state.

        Args:
            pool: Pool that runs them.
            seconds: Seconds since they were started.
        """
        running, core_seconds = pool.running(), pool.core_seconds()
        done = sum(self.expected[key] for key in self.ended)
        for key, so_far in running.items():
            done += min(so_far, _LONGEST_SHARE * self.expected[key])
        new, self._reported = core_seconds - self._reported, core_seconds
        return TrainingsState(
            purpose=self.purpose,
            n_all=len(self.expected),
            n_ended=len(self.ended),
            n_running=len(running),
            share=done / max(sum(self.expected.values()), _LEAST_SECONDS),
            seconds=seconds,
            core_seconds=new,
        )
