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

    def room(self, expected_gib: float) -> int:
        """Return how many trials fit on the node at once, with a core and memory each."""
        return min(self.cpus, max(int(self.free_gib / expected_gib), 0))


@dataclass(frozen=True)
class Concurrency:
    """Number of trials that run at once.

    Attributes:
        trials: Trials at once.
        trial_memory_gb: Memory above which a trial is ended, in GiB.
        reason: Sentence on what bounds the number.
        nodes: Nodes of a cluster; empty where the search has this machine to itself.
        expected_gib: Memory that a trial is expected to use.
    """

    trials: int
    trial_memory_gb: float
    reason: str
    nodes: tuple[Node, ...] = ()
    expected_gib: float = 0.0

    @property
    def is_spread(self) -> bool:
        """True if trials are spread over the nodes of a cluster, whose cores Ray counts."""
        return bool(self.nodes)

    @property
    def reservation(self) -> dict[str, float]:
        """Memory that Ray sets aside for a trial, so that it is placed where there is room."""
        expected = self.expected_gib or self.trial_memory_gb
        return {"memory": expected * GIB} if self.is_spread else {}


def fit_trials(nodes: Sequence[Node], trial_memory_gb: float, expected_gib: float) -> Concurrency:
    """Return how many trials fit machines that the search has to itself.

    Each trial gets a core, and counts with the memory that it is expected to use; above
    `trial_memory_gb`, or all that the machine has, it is ended.

    Args:
        nodes: Machines.
        trial_memory_gb: Limit of a trial, in GiB.
        expected_gib: Memory that a trial is expected to use.

    Raises:
        ConfigError: The budget or the machine is too small for a worker.

    >>> fit_trials([Node(cpus=8, free_gib=18.0)], trial_memory_gb=8.0, expected_gib=0.8).trials
    8
    """
    _refuse_less_than_a_worker(trial_memory_gb)
    expected_gib = min(expected_gib, trial_memory_gb)
    left = [replace(node, free_gib=node.free_gib - DRIVER_GIB) for node in nodes]
    fitting = sum(node.room(expected_gib) for node in left)
    cpus = sum(node.cpus for node in nodes)
    free = sum(node.free_gib for node in nodes)
    room = max(node.free_gib for node in left)
    if room < WORKER_GIB:
        raise ConfigError(
            f"{free:.1f} GiB of memory are free, but a search needs {DRIVER_GIB + WORKER_GIB:g} "
            "GiB. Close other programs, or use a larger machine."
        )
    limit = min(trial_memory_gb, round(room, 2))
    machine = f"{counted(cpus, 'core')}, {free:.1f} GiB free"
    return _concurrency(max(fitting, 1), cpus, machine, limit, min(expected_gib, limit))


def fit_cluster(nodes: Sequence[Node], trial_memory_gb: float, expected_gib: float) -> Concurrency:
    """Return how many trials Ray places on a cluster as it is now.

    The memory that a node hands out does not include what Ray itself needs.

    Args:
        nodes: Nodes of the cluster.
        trial_memory_gb: Limit of a trial, in GiB.
        expected_gib: Memory that a trial is expected to use, which Ray sets aside for it.

    Raises:
        ConfigError: The budget is too small for a worker, or no node has room for a trial.

    >>> nodes = [Node(4, 17.0, "large"), Node(8, 3.0, "small")]
    >>> fit_cluster(nodes, trial_memory_gb=8.0, expected_gib=1.0).trials
    7
    """
    _refuse_less_than_a_worker(trial_memory_gb)
    expected_gib = min(expected_gib, trial_memory_gb)
    fitting = sum(node.room(expected_gib) for node in nodes)
    cpus = sum(node.cpus for node in nodes)
    if not fitting:
        largest = max(nodes, key=lambda node: (node.cpus > 0, node.free_gib), default=Node(0, 0.0))
        raise ConfigError(
            f"No node has a core and {expected_gib:.1f} GiB for a trial: the largest of "
            f"{len(nodes)} has {counted(largest.cpus, 'core')} and {largest.free_gib:.1f} GiB. "
            "Search smaller models, or add a larger node; `ray status` shows those that have "
            "joined."
        )
    machine = f"{counted(cpus, 'core')} of {counted(len(nodes), 'node')}"
    return _concurrency(fitting, cpus, machine, trial_memory_gb, expected_gib, nodes)


def _concurrency(
    fitting: int,
    cpus: int,
    machine: str,
    limit: float,
    expected_gib: float,
    nodes: Sequence[Node] = (),
) -> Concurrency:
    bound = "cores" if fitting == cpus else "memory"
    reason = f"{machine}, {expected_gib:.1f} GiB expected of a trial: bounded by {bound}"
    return Concurrency(fitting, limit, reason, tuple(nodes), expected_gib)


def _refuse_less_than_a_worker(trial_memory_gb: float) -> None:
    if trial_memory_gb < WORKER_GIB:
        raise ConfigError(
            f"`budget.trial_memory_gb` is {trial_memory_gb:g}, but a worker needs {WORKER_GIB:g} "
            "GiB before it trains. Give at least that."
        )
