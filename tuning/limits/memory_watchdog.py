"""A watchdog over a trial's memory."""

from __future__ import annotations

import threading
from collections.abc import Callable


class MemoryWatchdog:
    """A thread that watches a process's memory while a trial runs.

    `memory` tells the bytes in use; `on_excess(used)` is called once, from the
    thread, when they are above the limit. `peak` is the highest that was seen.
    """

    def __init__(
        self,
        limit: int,
        memory: Callable[[], int],
        on_excess: Callable[[int], None],
        interval: float = 0.25,
    ) -> None:
        self._limit = limit
        self._memory = memory
        self._on_excess = on_excess
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watchdog", daemon=True)
        self.peak = 0

    def __enter__(self) -> MemoryWatchdog:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            used = self._look()
            if used > self._limit:
                self._on_excess(used)
                return

    def _look(self) -> int:
        used = self._memory()
        self.peak = max(self.peak, used)
        return used
