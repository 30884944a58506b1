"""Number of trials that run at once on a machine or a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantum_rerank.errors import ConfigError
from quantum_rerank.plural import counted

GIB = 1024**3
WORKER_GIB = 0.75
"""Memory of a Ray worker that has imported torch and PennyLane and runs the smallest training.

The trials of search_spaces/smoke.yaml peak at 0.50 GiB (`peak_rss_mb` in its trials.csv).
"""
DRIVER_GIB = 1.5
"""Memory left to the driver, Ray's own processes and the object store."""


@dataclass(frozen=True)
class Node:
    """Machine that runs trials.

    Attributes:
        cpus: Cores that it hands out.
        free_gib: Memory that it hands out, in GiB.
        name: Name that Ray has for a cluster's node.
    """

    cpus: int
    free_gib: float
    name: str = ""

    def room(self, trial_memory_gb: float) -> int:
        """Return how many trials Ray places on the node at once, with a core and memory each."""
        return min(self.cpus, max(int(self.free_gib / trial_memory_gb), 0))


@dataclass(frozen=True)
class Concurrency:
    """Number of trials that run at once.

    Attributes:
        trials: Trials at once.
        trial_memory_gb: Memory of each, in GiB.
        reason: Sentence on what bounds the number.
        nodes: Nodes of a cluster; empty where the search has this machine to itself.
    """

    trials: int
    trial_memory_gb: float
    reason: str
    nodes: tuple[Node, ...] = ()

    @property
    def is_spread(self) -> bool:
        """True if trials are spread over the nodes of a cluster, whose cores Ray counts."""
        return bool(self.nodes)

    @property
    def reservation(self) -> dict[str, float]:
        """Memory that Ray sets aside for a trial, so that it is placed where there is room."""
        return {"memory": self.trial_memory_gb * GIB} if self.is_spread else {}


def fit_trials(nodes: Sequence[Node], trial_memory_gb: float) -> Concurrency:
    """Return how many trials fit machines that the search has to itself.

    Each trial gets a core and its memory. A machine without room for one trial of that size runs
    one with the memory that it has.

    Args:
        nodes: Machines.
        trial_memory_gb: Memory of a trial, in GiB.

    Raises:
        ConfigError: The budget or the machine is too small for a worker.

    >>> fit_trials([Node(cpus=8, free_gib=18.0)], trial_memory_gb=8.0).trials
    2
    """
    _refuse_less_than_a_worker(trial_memory_gb)
    fitting = sum(
        replace(node, free_gib=node.free_gib - DRIVER_GIB).room(trial_memory_gb) for node in nodes
    )
    cpus = sum(node.cpus for node in nodes)
    free = sum(node.free_gib for node in nodes)
    if fitting >= 1:
        bound = "cores" if fitting == cpus else "memory"
        reason = f"{counted(cpus, 'core')}, {free:.1f} GiB free: bounded by {bound}"
        return Concurrency(fitting, trial_memory_gb, reason)
    room = max(node.free_gib for node in nodes) - DRIVER_GIB
    if room < WORKER_GIB:
        raise ConfigError(
            f"{free:.1f} GiB of memory are free, but a search needs {DRIVER_GIB + WORKER_GIB:g} "
            "GiB. Close other programs, or use a larger machine."
        )
    reason = f"{free:.1f} GiB free: less than one trial of {trial_memory_gb:g} GiB needs"
    return Concurrency(1, round(room, 2), reason)


def fit_cluster(nodes: Sequence[Node], trial_memory_gb: float) -> Concurrency:
    """Return how many trials Ray places on a cluster as it is now.

    The memory that a node hands out does not include what Ray itself needs. A trial never has
    less than its budget: a node without room for one runs none.

    Args:
        nodes: Nodes of the cluster.
        trial_memory_gb: Memory of a trial, in GiB.

    Raises:
        ConfigError: The budget is too small for a worker, or no node has room for a trial.

    >>> fit_cluster([Node(4, 17.0, "large"), Node(8, 9.0, "small")], trial_memory_gb=8.0).trials
    3
    """
    _refuse_less_than_a_worker(trial_memory_gb)
    fitting = sum(node.room(trial_memory_gb) for node in nodes)
    cpus = sum(node.cpus for node in nodes)
    if not fitting:
        largest = max(nodes, key=lambda node: (node.cpus > 0, node.free_gib), default=Node(0, 0.0))
        raise ConfigError(
            f"No node has a core and {trial_memory_gb:g} GiB for a trial: the largest of "
            f"{len(nodes)} has {counted(largest.cpus, 'core')} and {largest.free_gib:.1f} GiB. "
            "Lower `budget.trial_memory_gb` with --trial-memory-gb, or add a larger node; "
            "`ray status` shows those that have joined."
        )
    bound = "cores" if fitting == cpus else "memory"
    reason = f"{counted(cpus, 'core')} of {counted(len(nodes), 'node')}: bounded by {bound}"
    return Concurrency(fitting, trial_memory_gb, reason, tuple(nodes))


def _refuse_less_than_a_worker(trial_memory_gb: float) -> None:
    if trial_memory_gb < WORKER_GIB:
        raise ConfigError(
            f"`budget.trial_memory_gb` is {trial_memory_gb:g}, but a worker needs {WORKER_GIB:g} "
            "GiB before it trains. Give at least that."
        )
