"""Memory of a trial: measured in its process, and estimated from its configuration."""

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
from tuning.records import PEAK_RSS_MB, Listener

_PAGE = os.sysconf("SC_PAGE_SIZE")
_WARNED_SHARE = 0.8  # of a trial's memory
_SHARE_EVERY = 5.0  # seconds, since reading the shared memory takes some milliseconds
BARE_WORKER = 250 * 2**20
"""Bytes that a worker which has imported torch and PennyLane owns at the least.

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
        """Return the bytes now."""
        if not Path("/proc/self/smaps_rollup").exists():
            import psutil

            return int(psutil.Process(self._pid).memory_info().rss)
        family = [self._pid, *descendants(self._pid)]
        if time.monotonic() - self._asked >= _SHARE_EVERY:
            self._share = sum(_share(pid) for pid in family)
            self._asked = time.monotonic()
        return sum(_private(pid) for pid in family) + self._share


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started, and those that they have started."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # the thread has ended
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)


class MemoryWarnings(Listener):
    """Listener that warns, once a trial, when a trial comes near to its memory budget.

    Args:
        memory_gb: Budget of a trial, in GiB.
        warn: Prints a line for the user.
    """

    def __init__(self, memory_gb: float, warn: Callable[[str], None]) -> None:
        self._memory_gb, self._warn = memory_gb, warn
        self._warned: set[int] = set()

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Warn of a trial that has used most of its budget."""
        peak_gib = float(metrics.get(PEAK_RSS_MB, 0.0)) / 1024
        if peak_gib >= _WARNED_SHARE * self._memory_gb and number not in self._warned:
            self._warned.add(number)
            self._warn(
                f"Trial {number} has used {peak_gib:.2f} of its {self._memory_gb:g} GiB; "
                "above them it is ended."
            )


def give_back() -> None:
    """Return memory that is free within this process to the system, where glibc can.

    A worker trains one trial after another, and memory that is left counts for the next one.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def kill_descendants(pid: int) -> None:
    """Kill the processes that a process has started."""
    for child in list(descendants(pid)):
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


def least_bytes(config: ExperimentConfig, embedding_dim: int, n_ranked: int) -> int:
    """Return the bytes below which a trial cannot be trained.

    Counts a bare worker; weights, gradients and Adam's two moments in float32; and the
    states of the `n_ranked` documents that a validation ranks, complex128.

    >>> config = ExperimentConfig()
    >>> least_bytes(config, 384, 1000) // 2**20
    252
    """
    model = MODELS[config.model]
    widths = [embedding_dim, *config.mlp.hidden_layers, model.n_outputs(config)]
    n_weights = sum(a * b for a, b in pairwise(widths)) if "mlp" in model.components else 0
    if "mlp" in model.components and config.mlp.linear_path != "none":
        n_weights += embedding_dim * model.n_outputs(config)
    if "linear" in model.components and model.is_trainable:
        n_weights = embedding_dim * config.linear.rank
    states = 16 * 2**config.circuit.n_qubits * n_ranked if "state" in model.components else 0
    return BARE_WORKER + 4 * 4 * n_weights + states


def ranked_documents(data: TrialData) -> int:
    """Return the number of documents of the largest collection that a validation ranks."""
    return max((len(np.unique(queries.candidates)) for queries in data.validation), default=0)


def _private(pid: int) -> int:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:  # has ended
        return 0
    return (int(resident) - int(shared)) * _PAGE


def _share(pid: int) -> int:
    """Return the part of a process in pages that are shared or of files."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # has ended, or belongs to someone else
        return 0
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return sum(int(sizes[key].split()[0]) * 1024 for key in ("Pss_File", "Pss_Shmem"))
