from __future__ import annotations

import math
from pathlib import Path

import pytest

from tuning.workers.cluster import container_memory_left, this_machine


@pytest.mark.parametrize(
    ("limit", "usage"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_a_container_has_what_its_control_group_leaves(
    tmp_path: Path, limit: str, usage: str
) -> None:
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text("4000\n")
    (tmp_path / usage).write_text("1500\n")
    assert container_memory_left(tmp_path) == 2500


def test_without_a_limit_there_is_no_bound(tmp_path: Path) -> None:
    assert container_memory_left(tmp_path) == math.inf
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory_left(tmp_path) == math.inf


def test_this_machine_has_cores_and_memory() -> None:
    machine = this_machine()
    assert machine.cpus >= 1
    assert machine.free_gb > 0
