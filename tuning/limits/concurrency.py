"""How many trials fit a machine or a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantum_rerank.errors import ConfigError

GB = 1024**3


WORKER_GB = 0.75
"""A Ray worker that has imported torch and PennyLane, with room for the smallest training.

The trials of search_spaces/smoke.yaml peak at 0.50 GB (`peak_rss_mb` in its trials.csv).
"""


DRIVER_GB = 1.5
"""Left to the driver, Ray's own processes and the object store when trials are counted."""


@dataclass(frozen=True)
class Node:
    """A machine that runs trials: its cores, and the memory that is free on it, in GB.

    name: of a cluster's node, as Ray calls it.
    """

    cpus: int
    free_gb: float
    name: str = ""

    def room(self, trial_memory_gb: float) -> int:
        """Trials that Ray places on it at once, a core and their memory each."""
        return min(self.cpus, max(int(self.free_gb / trial_memory_gb), 0))


@dataclass(frozen=True)
class Concurrency:
    """How many trials run at once, with how much memory each, and why.

    nodes: those of a cluster; none where the search has this machine to itself.
    """

    trials: int
    trial_memory_gb: float
    reason: str
    nodes: tuple[Node, ...] = ()

    @property
    def spread(self) -> bool:
        """Over a cluster's nodes, whose cores and memory Ray itself counts."""
        return bool(self.nodes)

    @property
    def reservation(self) -> dict[str, float]:
        """The memory that Ray sets aside for a trial, so that it lands where there is room."""
        return {"memory": self.trial_memory_gb * GB} if self.spread else {}


def fit_trials(nodes: Sequence[Node], trial_memory_gb: float) -> Concurrency:
    """Count the trials that fit: one core and its memory budget each.

    A machine that cannot hold one trial of that size runs one with what it has.

    Raises: ConfigError if the budget or the machine is too small for a worker.

    >>> fit_trials([Node(cpus=8, free_gb=18.0)], trial_memory_gb=8.0).trials
    2
    """
    _refuse_less_than_a_worker(trial_memory_gb)
    fitting = sum(
        replace(node, free_gb=node.free_gb - DRIVER_GB).room(trial_memory_gb) for node in nodes
    )
    cpus = sum(node.cpus for node in nodes)
    free = sum(node.free_gb for node in nodes)
    if fitting >= 1:
        bound = "cores" if fitting == cpus else "memory"
        reason = f"{cpus} cores, {free:.1f} GB free: bounded by {bound}"
        return Concurrency(fitting, trial_memory_gb, reason)
    room = max(node.free_gb for node in nodes) - DRIVER_GB
    if room < WORKER_GB:
        raise ConfigError(
            f"{free:.1f} GB of memory are free, but a search needs {DRIVER_GB + WORKER_GB:g} GB. "
            "Close other programs, or use a larger machine."
        )
    reason = f"{free:.1f} GB free: less than one trial of {trial_memory_gb:g} GB needs"
    return Concurrency(1, round(room, 2), reason)


def fit_cluster(nodes: Sequence[Node], trial_memory_gb: float) -> Concurrency:
    """Count the trials that Ray places on a cluster as it is now: as many as fit each node.

    What Ray itself needs is not among the memory that a node hands out. A trial never has
    less than its budget: on a node without room for one none runs.

    Raises: ConfigError if the budget is too small for a worker, or no node has room.

    >>> fit_cluster([Node(4, 17.0, "large"), Node(8, 9.0, "small")], trial_memory_gb=8.0).trials
    3
    """
    _refuse_less_than_a_worker(trial_memory_gb)
    fitting = sum(node.room(trial_memory_gb) for node in nodes)
    cpus = sum(node.cpus for node in nodes)
    if not fitting:
        largest = max(nodes, key=lambda node: (node.cpus > 0, node.free_gb), default=Node(0, 0.0))
        raise ConfigError(
            f"No node has a core and {trial_memory_gb:g} GB for a trial: the largest of "
            f"{len(nodes)} hands out {largest.cpus} cores and {largest.free_gb:.1f} GB. Lower "
            "`budget.trial_memory_gb` with --trial-memory-gb, or add a larger node; "
            "`ray status` shows those that have joined."
        )
    bound = "cores" if fitting == cpus else "memory"
    reason = f"{cpus} cores of {len(nodes)} nodes: bounded by {bound}"
    return Concurrency(fitting, trial_memory_gb, reason, tuple(nodes))


def _refuse_less_than_a_worker(trial_memory_gb: float) -> None:
    if trial_memory_gb < WORKER_GB:
        raise ConfigError(
            f"`budget.trial_memory_gb` is {trial_memory_gb:g}, but a worker needs {WORKER_GB:g} "
            "before it trains. Give at least that."
        )
