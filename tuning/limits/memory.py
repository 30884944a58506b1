"""What a trial's memory is: measured in its process, and foretold from its configuration."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.trial_data import TrialData
from tuning.records import PEAK_RSS_MB, TrialEnd

_PAGE = os.sysconf("SC_PAGE_SIZE")
_WARNED_SHARE = 0.8  # of a trial's memory
_SHARE_EVERY = 5.0  # seconds: to ask the system for what is shared takes some milliseconds
BARE_WORKER = 250 * 2**20
"""What a worker that has imported torch and PennyLane owns at the least, in bytes.

`python -m benchmarks.memory` prints it: own before training.
"""


class TrialMemory:
    """Bytes that a process and those it has started own, with their share of what is shared.

    The share counts a page that n processes map as 1/n page (Linux's PSS), so that a
    corpus that all trials of a node read is not counted for each. Elsewhere than on
    Linux: resident memory.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid or os.getpid()
        self._share = 0
        self._asked = float("-inf")

    def __call__(self) -> int:
        """The bytes now."""
        if not Path("/proc/self/smaps_rollup").exists():
            import psutil

            return int(psutil.Process(self._pid).memory_info().rss)
        family = [self._pid, *descendants(self._pid)]
        if time.monotonic() - self._asked >= _SHARE_EVERY:
            self._share = sum(_share(pid) for pid in family)
            self._asked = time.monotonic()
        return sum(_private(pid) for pid in family) + self._share


def descendants(pid: int) -> Iterator[int]:
    """Processes that a process has started, and theirs."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # the thread has ended
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)


class MemoryWarnings:
    """A listener that says, once a trial, that it comes near to its memory budget."""

    def __init__(self, memory_gb: float, say: Callable[[str], None]) -> None:
        self._memory_gb, self._say = memory_gb, say
        self._warned: set[int] = set()

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Nothing: it has used nothing yet."""

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        peak_gb = float(metrics.get(PEAK_RSS_MB, 0.0)) / 1024
        if peak_gb >= _WARNED_SHARE * self._memory_gb and number not in self._warned:
            self._warned.add(number)
            self._say(
                f"Trial {number} has used {peak_gb:.2f} of its {self._memory_gb:g} GB; "
                "above them it is ended."
            )

    def trial_ended(self, end: TrialEnd) -> None:
        """Nothing: what it ended of is told elsewhere."""


def give_back() -> None:
    """Give memory that is free within this process back to the system, where glibc can.

    A worker trains one trial after another, and each is measured with what it finds there.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def kill_descendants(pid: int) -> None:
    """End what a process has started, at once."""
    for child in list(descendants(pid)):
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


def least_bytes(config: ExperimentConfig, embedding_dim: int, n_ranked: int) -> int:
    """Memory below which a trial cannot be trained; what is above the budget need not start.

    Counts a bare worker; weights, gradients and Adam's two moments in float32; and the
    states of the `n_ranked` documents that a validation ranks, complex128.

    >>> config = ExperimentConfig()
    >>> least_bytes(config, 384, 1000) // 2**20
    252
    """
    model = MODELS[config.model]
    widths = [embedding_dim, *config.mlp.hidden_layers, model.n_outputs(config)]
    n_weights = sum(a * b for a, b in pairwise(widths)) if "mlp" in model.components else 0
    if "linear" in model.components:
        n_weights = embedding_dim * config.linear.rank
    states = 16 * 2**config.circuit.n_qubits * n_ranked if "state" in model.components else 0
    return BARE_WORKER + 4 * 4 * n_weights + states


def ranked_documents(data: TrialData) -> int:
    """Documents of the largest collection that a validation ranks."""
    return max((len(np.unique(q.candidates)) for q in data.validation), default=0)


def _private(pid: int) -> int:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:  # has ended
        return 0
    return (int(resident) - int(shared)) * _PAGE


def _share(pid: int) -> int:
    """This process's part of pages that are of files or shared, whoever maps them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # has ended, or belongs to someone else
        return 0
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return sum(int(found[key].split()[0]) * 1024 for key in ("Pss_File", "Pss_Shmem"))
