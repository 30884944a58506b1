"""Watchdog over the memory of a trial."""

from __future__ import annotations

import threading
from collections.abc import Callable

OUT_OF_MEMORY_EXIT_CODE = 137
"""Exit code of a process that ends itself above its memory, as one killed by SIGKILL."""


class MemoryWatchdog:
    """Thread that watches the memory of a process while a trial runs in it.

    Args:
        limit: Bytes that the process may use.
        memory: Returns the bytes in use.
        on_excess: Called once with the bytes in use, from the thread, when they exceed the limit.
        interval: Seconds between two readings.
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
        """Highest number of bytes that was read."""

    def __enter__(self) -> MemoryWatchdog:
        self._read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._read()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            used = self._read()
            if used > self._limit:
                self._on_excess(used)
                return

    def _read(self) -> int:
        used = self._memory()
        self.peak = max(self.peak, used)
        return used
