from __future__ import annotations

import pytest

from quantum_rerank.errors import ConfigError
from tuning.limits.concurrency import DRIVER_GIB, Node
from tuning.workers.local_nodes import shares


@pytest.mark.parametrize(("cpus", "count"), [(1, 1), (2, 2), (7, 3), (64, 5)])
def test_nodes_have_all_cores_and_all_memory_but_the_drivers(cpus: int, count: int) -> None:
    nodes = shares(Node(cpus, 20.0), count)
    assert len({node.name for node in nodes}) == count
    assert sum(node.cpus for node in nodes) == cpus
    assert max(node.cpus for node in nodes) - min(node.cpus for node in nodes) <= 1
    assert sum(node.free_gib for node in nodes) == pytest.approx(20.0 - DRIVER_GIB)


def test_a_machine_without_memory_has_nodes_without_memory() -> None:
    assert [node.free_gib for node in shares(Node(2, 1.0), 2)] == [0.0, 0.0]


def test_more_nodes_than_cores_are_refused() -> None:
    with pytest.raises(ConfigError, match="--nodes 3 needs a core for each node"):
        shares(Node(2, 20.0), 3)
