"""Ray cluster of several nodes on this machine, to try a distributed search."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quantum_rerank.errors import ConfigError, SearchError, first_line
from tuning.limits.concurrency import DRIVER_GIB, GIB, Node
from tuning.workers.cluster import keep_ray_quiet
from tuning.workers.private_access import private_access
from tuning.workers.variables import replace_variables

_LOOPBACK = "127.0.0.1"
_OBJECTS = 0.3  # of a node's memory, for what its trials share: Ray's own default
_OBJECTS_GB = 9.0  # at most: Ray refuses to start with more than /dev/shm has, from 10 GB on


def shares(machine: Node, count: int) -> list[Node]:
    """Divide a machine among nodes: cores as evenly as possible, memory in equal parts.

    Args:
        machine: Machine to divide.
        count: Number of nodes.

    Raises:
        ConfigError: A node would have no core.

    >>> [(node.name, node.cpus, node.free_gib) for node in shares(Node(3, 13.5), 2)]
    [('node-0', 2, 6.0), ('node-1', 1, 6.0)]
    """
    if count > machine.cpus:
        raise ConfigError(
            f"--nodes {count} needs a core for each node, but this machine has {machine.cpus}."
        )
    cores, more = divmod(machine.cpus, count)
    memory = max(machine.free_gib - DRIVER_GIB, 0.0) / count
    return [Node(cores + (i < more), memory, f"node-{i}") for i in range(count)]


@contextmanager
def local_nodes(nodes: list[Node]) -> Iterator[str]:
    """Start Ray nodes on this machine.

    Only this process can use them, see `private_access`. They end with the block or with this
    process, since Ray's reaper watches them.

    Args:
        nodes: Cores and memory of each node.

    Yields:
        The address of the cluster.

    Raises:
        SearchError: A node does not start.
    """
    keep_ray_quiet()
    with private_access(), _own_folder():
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        try:
            for node in nodes:
                _start(cluster, node)
            yield str(cluster.address)
        finally:
            cluster.shutdown()


@contextmanager
def _own_folder() -> Iterator[None]:
    """Set a new folder for Ray's session and logs.

    In the default folder, `--address auto` would find this cluster instead of one that runs here.
    """
    variable = "RAY_TMPDIR"
    with tempfile.TemporaryDirectory(
        prefix="nodes-", dir=os.environ.get(variable), ignore_cleanup_errors=True
    ) as folder:
        previous = replace_variables({variable: folder})
        try:
            yield
        finally:
            replace_variables(previous)


def _start(cluster: Any, node: Node) -> None:
    try:
        cluster.add_node(
            num_cpus=node.cpus,
            memory=int(node.free_gib * GIB),
            object_store_memory=int(min(max(_OBJECTS * node.free_gib, 0.1), _OBJECTS_GB) * GIB),
            node_name=node.name,
            node_ip_address=_LOOPBACK,
            include_dashboard=False,
        )
    except Exception as error:  # Ray raises no kind of its own, on a machine that is too busy
        raise SearchError(
            f"{node.name} did not start on this machine: {first_line(error)}. Close "
            "other programs, or take fewer nodes."
        ) from None
